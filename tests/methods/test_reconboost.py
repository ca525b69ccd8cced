"""ReconBoost: one modality at a time, on what the others lack."""

from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import nn

from cggm.pipelines.balancing import RegressionTask
from cggm.pipelines.balancing.scores import negative_error
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.reconboost import (
    ReconBoost,
    memory_loss,
    released_residual_loss,
    residual_error,
    residual_loss,
    stage_lengths,
    stage_of,
)

from ..toy import ToyRun

CURRENT = torch.tensor([[1.0, 0, -1], [0.2, 0.1, 0]], dtype=torch.float64)
OTHERS = torch.tensor([[2.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def test_memory_consolidation_value() -> None:
    """The value of that case; its gradient is zero as released, and not here."""
    logits = CURRENT.clone().requires_grad_()
    previous = OTHERS.clone().requires_grad_()
    loss = memory_loss(logits, previous)
    assert loss.item() == pytest.approx(0.0209397063, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    assert previous.grad is None


def test_regression_generalisation() -> None:
    truth, others = torch.tensor([[0.1], [0.3], [1.0]]), torch.tensor([[0.4], [-1.2], [2.0]])
    residual = torch.tensor([[-0.3], [1.5], [-1.0]])
    rest = RegressionTask(nn.L1Loss(), negative_error).residual(others, truth)
    assert residual_error(residual, rest, "l1").item() == pytest.approx(0, abs=1e-6)
    zeros = torch.zeros(3, 1)
    found = residual_error(zeros, rest, "l1"), residual_error(zeros, rest, "l2")
    assert found[0].item() == pytest.approx(residual.abs().mean().item())
    assert found[1].item() == pytest.approx(residual.square().mean().item())


def test_the_paper_s_residual_is_that_of_gradient_boosting() -> None:
    """With w1 = w2 the gradient in the logits is p_others - y, whatever the member says."""
    logits = CURRENT.clone().requires_grad_()
    (2 * residual_loss(logits, OTHERS, LABELS, 1.0, 1.0)).backward()
    truth = nn.functional.one_hot(LABELS, 3)
    torch.testing.assert_close(logits.grad, OTHERS.softmax(1) - truth)


def test_paper_and_released_residual_differ_in_the_wrong_classes_only() -> None:
    truth = nn.functional.one_hot(LABELS, 3).bool()
    certain = torch.where(truth, 0.0, -60.0).double()  # the others are right: one class is left
    paper = residual_loss(CURRENT, certain, LABELS, 1.0, 0.5)
    released = 3 * released_residual_loss(CURRENT, certain, LABELS, 1.0, 0.5)
    torch.testing.assert_close(paper, released)
    # Nobody else: released code takes the others as certain, the paper has none.
    alone = residual_loss(CURRENT, None, LABELS, 1.0, 0.5)
    torch.testing.assert_close(alone, nn.functional.cross_entropy(CURRENT, LABELS))
    torch.testing.assert_close(
        3 * released_residual_loss(CURRENT, None, LABELS, 1.0, 0.5), 0.5 * alone
    )


def test_the_order_of_the_others_does_not_matter_and_samples_are_averaged() -> None:
    order = torch.tensor([1, 0])
    for form in (residual_loss, released_residual_loss):
        whole = form(CURRENT, OTHERS, LABELS, 1.0, 0.5)
        torch.testing.assert_close(
            form(CURRENT[order], OTHERS[order], LABELS[order], 1, 0.5), whole
        )


def test_stages() -> None:
    stages = [stage_of(epoch, 2, 2) for epoch in range(1, 9)]
    assert stages == [(n, alone) for n in (0, 1) for alone in (True, True, False, False)]
    assert [stage_of(epoch, 1, 0) for epoch in (1, 2, 3)] == [(0, True), (1, True), (2, True)]
    assert stage_of(0, 4, 4) == (0, True)


class Moves:
    """Which members moved in each epoch."""

    def __init__(self, run: ToyRun) -> None:
        self.run, self.found = run, []
        self._before = self._weights()
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._compare)

    def _weights(self) -> dict[str, torch.Tensor]:
        members = self.run.network.members.items()
        return {n: nn.utils.parameters_to_vector(m.parameters()).detach() for n, m in members}

    def _compare(self) -> None:
        now = self._weights()
        self.found.append("".join(n for n in now if not torch.equal(now[n], self._before[n])))
        self._before = now


OPTIMIZERS = {
    "SGD": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.01),
    "AdamW": torch.optim.AdamW,
}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_the_modality_whose_turn_it_is_moves_or_all_that_had_one(
    toy_run: type[ToyRun], optimizer: str, task: str
) -> None:
    run = toy_run(
        ReconBoost(n1=1, n2=1),
        optimizer=OPTIMIZERS[optimizer],
        epochs=7,
        samples=20,
        modalities=("a", "b", "c"),
        task=task,
    )
    moves = Moves(run)
    run.run()
    # Rectification has the modalities that were added so far, as in the released code.
    assert moves.found == ["a", "a", "b", "ab", "c", "abc", "a"]
    assert run.modulation.record["balance"] == {"a": 1, "b": 0, "c": 0}


def test_zeroed_gradients_are_no_gradients(toy_run: type[ToyRun]) -> None:
    """Trainers that keep gradients as zeros would let the others decay."""
    run = toy_run(ReconBoost(n1=1, n2=0), optimizer=torch.optim.AdamW, epochs=2, modalities="ab")
    run.trainer.optim_set_to_none = False
    moves = Moves(run)
    run.run()
    assert moves.found == ["a", "b"]


@pytest.mark.parametrize(
    ("settings", "alone"), [({"n1": 1, "n2": 0}, True), ({"n1": 1, "n2": 1}, False)]
)
def test_what_was_never_trained_says_nothing(
    toy_run: type[ToyRun], settings: dict[str, Any], alone: bool
) -> None:
    """In the first turn there are no others, whatever follows."""
    run = toy_run(ReconBoost(alpha=0, **settings), modalities=("a", "b"), epochs=3)
    found = run.first_step_gradients()
    plain = toy_run(ReconBoost(), modalities=("a", "b"))
    inputs = torch.stack([sample["image"] for sample in plain.data])
    label = torch.stack([sample["label"] for sample in plain.data])
    plain.task.loss(plain.network.members["a"](inputs[:, :1]), label).backward()
    assert {name.split(".")[1] for name in found} == {"a"}
    for name, parameter in plain.network.members["a"].named_parameters():
        torch.testing.assert_close(found[f"members.a.{name}"], parameter.grad)


@pytest.mark.parametrize(("epoch", "begun"), [(2, "a"), (4, "ab"), (6, "abc"), (8, "abc")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_global_rectification_is_joint_training_of_those_that_had_a_turn(
    toy_run: type[ToyRun], epoch: int, begun: str, task: str
) -> None:
    settings: dict[str, Any] = {"modalities": ("a", "b", "c"), "task": task}
    run = toy_run(ReconBoost(n1=1, n2=1), epochs=9, **settings)
    run.trainer.state.epoch = run.trainer.state.iteration = epoch - 1
    found = run.first_step_gradients()
    plain = toy_run(ReconBoost(), **settings)
    label = torch.stack([sample["label"] for sample in plain.data])
    total = torch.zeros(1)
    for name in begun:
        rows = torch.stack([s["image"]["abc".index(name)][None] for s in plain.data])
        total = total + plain.network.members[name](rows)
    plain.task.loss(total, label).backward()
    expected = {n: p.grad for n, p in plain.network.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


@pytest.mark.parametrize("residual", ["paper", "released"])
@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("a", "b", "c", "d")])
def test_any_number_of_modalities(
    toy_run: type[ToyRun], modalities: tuple[str, ...], residual: Any
) -> None:
    method = ReconBoost(n1=1, n2=1, residual=residual)
    run = toy_run(method, modalities=modalities, epochs=9, samples=20, accumulation_steps=2).run()
    assert all(value.isfinite().all() for value in run.network.state_dict().values())


@pytest.mark.parametrize(
    ("settings", "epochs", "needed"),
    [({"n1": 4, "n2": 4}, 19, 20), ({"n1": 1, "n2": 0}, 2, 3), ({}, 4, 5), ({"n1": 3}, 7, 11)],
)
def test_a_training_in_which_a_modality_never_learns_is_refused(
    toy_run: type[ToyRun], settings: dict[str, Any], epochs: int, needed: int
) -> None:
    message = rf"of {epochs} epochs ends before the last of them learned: train for {needed} epochs"
    with pytest.raises(ValueError, match=message):
        toy_run(ReconBoost(**settings), epochs=epochs).run()
    toy_run(ReconBoost(**settings), epochs=needed).run()


def test_stages_fit_a_short_training_unless_given() -> None:
    assert stage_lengths(None, None, 4, 150) == (4, 4)
    assert stage_lengths(None, None, 4, 20) == (2, 2)
    assert stage_lengths(None, None, 3, 20) == (3, 3)
    assert stage_lengths(None, 0, 2, 20) == (4, 0)
    assert stage_lengths(6, None, 4, 1) == (6, 1)


def test_a_network_without_members_is_refused(toy_run: type[ToyRun]) -> None:
    run = toy_run(Joint())
    run.modulation.method = ReconBoost()
    with pytest.raises(ValueError, match=r"ToyNetwork has no `members`.*rule 'sum'"):
        run.run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"w1": 0}, r"w1 is 0; it is a number above 0"),
        ({"w2": -1}, r"w2 is -1; it is a number, 0 or larger"),
        ({"alpha": "0.5"}, r"alpha is '0.5'"),
        ({"n1": 0}, r"n1 is 0; it is a whole number, 1 or larger"),
        ({"n2": 1.5}, r"n2 is 1.5; it is a whole number, 0 or larger"),
        ({"residual": "code"}, r"residual is 'code'; it is one of \['paper', 'released'\]"),
        ({"error": "huber"}, r"error is 'huber'; it is one of \['l1', 'l2'\]"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReconBoost(**setting)
