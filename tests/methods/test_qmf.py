"""QMF: the ranking loss, and the history of each sample behind it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cggm.pipelines.balancing import SegmentationTask
from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.qmf import (
    QMF,
    History,
    confidence,
    foreground,
    normalized,
    ranking_loss,
)

from ..toy import ToyRun

KAPPA = torch.tensor([0.2, 1.0, 0.5, 0.6])
CONFIDENCE = torch.tensor([0.3, 0.25, 0.1, 0.4])


def test_the_margin_of_the_paper_is_added() -> None:
    # Pairs: -(0.05) + 1, 0.15 + 0.625, 0.3 + 0.125, 0.1 + 0.5.
    loss = ranking_loss(normalized(KAPPA), CONFIDENCE)
    assert loss.item() == pytest.approx((0.95 + 0.775 + 0.425 + 0.6) / 4, abs=1e-6)


def test_the_sample_with_the_larger_loss_becomes_less_confident() -> None:
    weights = torch.zeros(2, requires_grad=True)
    ranking_loss(torch.tensor([1.0, 0.0]), weights).backward()
    assert weights.grad is not None
    assert weights.grad[0] > 0 > weights.grad[1]


@pytest.mark.parametrize("past", [[0.0, 0.0], [0.5, 0.5], [0.3]])
def test_equal_histories_ask_for_nothing(past: list[float]) -> None:
    loss = ranking_loss(torch.tensor(past), torch.rand(len(past)))
    assert loss.item() == 0


@pytest.mark.parametrize("margin", ["paper", "released"])
def test_samples_in_a_ring_may_start_anywhere(margin: Any) -> None:
    order = torch.tensor([2, 3, 0, 1])
    whole = ranking_loss(KAPPA, CONFIDENCE, margin=margin)
    turned = ranking_loss(KAPPA[order], CONFIDENCE[order], margin=margin)
    torch.testing.assert_close(whole, turned)


def test_history_is_a_mean_and_guards_its_range() -> None:
    history = History()
    history.update(["a", "b"], torch.tensor([[1.0, 5.0], [1.0, 5.0]]))
    assert history.of(["a", "b"]).tolist() == [[0, 0], [0, 0]]  # released code has NaN here
    history.update(["a"], torch.tensor([[3.0, 1.0]]))
    assert history.of(["a", "b"]).tolist() == [[1, 0], [0, 1]]
    history.update(["c"], torch.tensor([[float("nan"), 3.0]]))
    assert history.of(["c"]).isfinite().all()


def test_two_slices_of_a_case_share_its_history() -> None:
    history = History()
    history.update(["case", "case", "other"], torch.tensor([[1.0], [3.0], [4.0]]))
    assert history.of(["case", "other", "case"]).flatten().tolist() == [0, 1, 0]


def test_confidence_is_that_of_the_fusion(toy_run: type[ToyRun]) -> None:
    run = toy_run(QMF())
    logits = torch.randn(4, 2)
    weighted = run.network.combine([logits], [torch.ones(4, dtype=torch.bool)])
    torch.testing.assert_close(confidence(logits)[:, None] * logits, weighted)


def test_foreground_of_an_image_without_any() -> None:
    values = torch.full((2, 2, 2), 3.0)
    classes = torch.tensor([[[0, 0], [0, 0]], [[0, 1], [2, 0]]])
    means, counts = foreground(values, classes)
    assert means.tolist() == [0, 3]
    assert counts.tolist() == [False, True]
    assert ranking_loss(torch.tensor([1.0, 0.0]), means, counts=counts).item() == 0


def step_of(task: Any, predictions: dict[str, Tensor], label: Tensor, ids: Any) -> Step:
    network = nn.Module()
    network.members = nn.ModuleDict()
    run = Run(
        network=network,
        encoders={name: nn.Identity() for name in predictions},
        classifiers={},
        task=task,
        optimizer=torch.optim.SGD([torch.zeros(1)], lr=1.0),
        batches=[],
        prepare_batch=lambda *_: None,
        device=torch.device("cpu"),
        epochs=1,
        epoch=1,
    )
    fused = sum(predictions.values())
    assert isinstance(fused, Tensor)
    loss = task.loss(fused, label)
    return Step(run, None, loss, fused, label, ids=ids, predictions=predictions)


@pytest.mark.parametrize("ids", [["p1", "p1", "p2", "p3"], ["a", "b", "c", "d"]])
def test_segmentation_ranks_cases(ids: list[str]) -> None:
    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(prediction, label[:, 0])

    task = SegmentationTask(loss, lambda p, y: p.mean((1, 2, 3)))
    torch.manual_seed(0)
    label = torch.randint(0, 3, (4, 1, 5, 5))
    label[3] = 0
    predictions = {n: torch.randn(4, 3, 5, 5, requires_grad=True) for n in ("t1", "t2")}
    step = step_of(task, predictions, label, ids)
    method = QMF(lam=0.5)
    total = method.loss(step)
    singles = sum(task.loss(p, label) for p in predictions.values())
    ranking = method.record()["ranking"]
    torch.testing.assert_close(total, step.task_loss + singles + 0.5 * ranking.sum())
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in predictions.values())
    # What the equal modalities of another order would get.
    swapped = dict(reversed(predictions.items()))
    again = QMF(lam=0.5)
    torch.testing.assert_close(again.loss(step_of(task, swapped, label, ids)), total)
    torch.testing.assert_close(again.record()["ranking"], ranking.flip(0))


@pytest.mark.parametrize("ids", [None, ["a"]])
def test_batches_without_ids_are_refused(toy_run: type[ToyRun], ids: Any) -> None:
    run = toy_run(QMF())
    for sample in run.data:
        del sample["id"]
    if ids:
        step = step_of(run.task, {"a": torch.zeros(2, 2)}, torch.tensor([0, 1]), ids)
        with pytest.raises(ValueError, match=r"a batch of 2 has 1 of their ids"):
            QMF().loss(step)
    else:
        with pytest.raises(ValueError, match=r"a batch of 8 has none of their ids: let the data"):
            run.run()


def test_a_regression_is_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match=r"QMF is for classification and segmentation"):
        toy_run(QMF(), task="regression").run()


def test_a_network_without_members_is_refused(toy_run: type[ToyRun]) -> None:
    run = toy_run(Joint())
    assert run.modulation is not None
    run.modulation.method = QMF()
    with pytest.raises(ValueError, match=r"ToyNetwork has no `members`.*LateFusion"):
        run.run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lam": -1}, r"lam is -1; it is a number, 0 or larger"),
        ({"lam": True}, r"lam is True"),
        ({"margin": "code"}, r"margin is 'code'; it is one of \['paper', 'released'\]"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QMF(**setting)


@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_training_moves_every_member(
    toy_run: type[ToyRun], optimizer: type, modalities: tuple[str, ...]
) -> None:
    run = toy_run(QMF(), optimizer=optimizer, modalities=modalities, epochs=2, samples=20)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.run()
    assert run.modulation is not None
    assert set(run.modulation.record["confidence"]) == set(modalities)
    for name, value in run.network.state_dict().items():
        assert value.isfinite().all()
        assert not torch.equal(value, before[name]), name


def test_without_the_ranking_loss_it_is_a_sum_of_losses(toy_run: type[ToyRun]) -> None:
    found = toy_run(QMF(lam=0)).first_step_gradients()
    plain = toy_run(QMF(lam=0))
    inputs = torch.stack([sample["image"] for sample in plain.data])
    label = torch.stack([sample["label"] for sample in plain.data])
    losses = [plain.task.loss(plain.network(inputs), label)]
    for index, member in enumerate(plain.network.members.values()):
        losses.append(plain.task.loss(member(inputs[:, index : index + 1]), label))
    sum(losses).backward()
    for name, parameter in plain.network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_a_training_depends_on_its_history(toy_run: type[ToyRun]) -> None:
    ends = []
    for losses in ([0.0, 1.0], [1.0, 0.0]):
        run = toy_run(QMF())
        past = torch.tensor(losses).repeat(4)[:, None].expand(8, 3) * 100
        run.modulation.method._history.update([f"sample-{i}" for i in range(8)], past)
        ends.append(run.run().network.state_dict())
    assert any(not torch.equal(ends[0][name], value) for name, value in ends[1].items())


def test_a_sample_is_counted_once_an_epoch(toy_run: type[ToyRun]) -> None:
    run = toy_run(QMF(), epochs=3, samples=20, accumulation_steps=2).run()
    assert run.modulation is not None
    assert run.modulation.state_dict()["counts"].tolist() == [[3, 3, 3]] * 20
