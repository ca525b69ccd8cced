"""PMR: prototypes that pull the modality that is behind, and classes that nobody has seen."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.pipelines.balancing import RegressionTask, SegmentationTask
from cggm.pipelines.balancing.method import Run
from cggm.pipelines.balancing.randomness import undisturbed
from cggm.pipelines.balancing.scores import negative_error
from cggm.pipelines.methods.pmr import (
    PMR,
    check_bins,
    coefficients,
    moved,
    prototype_log_probabilities,
)

# pmr/released_code_loss: the released functions, executed.
FEATURES = {"a": [[0.0, 0], [1, 0]], "v": [[0.0, 1], [2, 2]]}
PROTOTYPES = {"a": [[0.0, 0.5], [2, 0]], "v": [[0.0, 0], [2, 1]]}
LABELS = torch.tensor([0, 1])
FUSED = torch.tensor([[1.0, 0], [0, 1]])


def released() -> tuple[Tensor, Tensor]:
    """Prototype losses and scores of both modalities."""
    losses, scores = [], []
    for name in "av":
        log_p = prototype_log_probabilities(
            torch.tensor(FEATURES[name]), torch.tensor(PROTOTYPES[name])
        )
        truth = log_p.gather(1, LABELS[:, None])
        losses.append(-truth.mean())
        scores.append(truth.exp().mean())
    return torch.stack(losses), torch.stack(scores)


def test_released_code_loss() -> None:
    losses, scores = released()
    torch.testing.assert_close(losses, torch.tensor([0.4186420143, 0.2311278582]))
    assert (scores[0] / scores[1]).item() == pytest.approx(0.8457999825, abs=1e-6)
    push, calm = coefficients(scores, "released")
    assert push.tolist() == [1, 0]
    assert calm.tolist() == [0, 0]
    loss = cross_entropy(FUSED, LABELS) + 2.0 * (push * losses).sum()
    assert loss.item() == pytest.approx(1.150545716, abs=1e-6)


def test_paper_coefficients_are_clipped_ratios() -> None:
    _, scores = released()
    push, calm = coefficients(scores)
    assert push.tolist() == pytest.approx([1 / 0.8457999825 - 1, 0])
    assert calm.tolist() == pytest.approx([0, 1 / 0.8457999825 - 1])
    assert coefficients(torch.tensor([0.1, 0.9]))[0].tolist() == [1, 0]


def test_a_class_without_samples_keeps_its_prototype_or_has_none() -> None:
    old = torch.tensor([[1.0], [2.0], [float("nan")]])
    found = moved(old, torch.tensor([[0.0], [6.0]]), torch.tensor([0.0, 2.0]), 0.5)
    assert found[:2].tolist() == [[1.0], [2.5]]
    assert found[2].isnan()
    grown = moved(old[:1], torch.tensor([[3.0], [4.0]]), torch.tensor([1.0, 1.0]), 0.5)
    assert grown.tolist() == [[2.0], [4.0]]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_coefficients_permute_and_vanish_for_equal_modalities(m: int) -> None:
    scores = torch.rand(m, generator=torch.Generator().manual_seed(m))
    order = torch.randperm(m, generator=torch.Generator().manual_seed(m))
    for found, expected in zip(coefficients(scores[order]), coefficients(scores), strict=True):
        torch.testing.assert_close(found, expected[order])
    for equal in (torch.full((m,), 0.3), torch.zeros(m)):
        assert not any(bool(part.gt(1e-6).any()) for part in coefficients(equal))


def test_the_gradient_is_finite_at_a_prototype() -> None:
    vectors = torch.zeros(1, 3, requires_grad=True)
    prototype_log_probabilities(vectors, torch.zeros(2, 3)).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_an_image_has_a_vector_for_each_of_its_classes() -> None:
    maps = torch.zeros(2, 1, 2, 2)
    maps[0, 0] = torch.tensor([[1.0, 2], [3, 4]])
    maps[1, 0] = 7.0
    label = torch.zeros(2, 1, 4, 4, dtype=torch.long)
    label[0, 0, 2:] = 3  # the lower half
    task = SegmentationTask(nn.CrossEntropyLoss(), negative_error)
    vectors, samples, classes = task.class_vectors((maps, None), label)
    assert vectors[:, 0].tolist() == [1.5, 3.5, 7.0]
    assert samples.tolist() == [0, 0, 1]
    assert classes.tolist() == [0, 3, 0]


def test_absent_sequences_take_no_part() -> None:
    feature = (torch.ones(2, 3, 4), torch.tensor([0, 2]))
    task = RegressionTask(nn.L1Loss(), negative_error)
    vectors, samples, labels = task.class_vectors(feature, torch.tensor([[1.0], [2.0]]))
    assert samples.tolist() == [1]
    assert labels.tolist() == [[2.0]]
    assert vectors.shape == (1, 4)


def test_too_many_bins_are_refused() -> None:
    with pytest.raises(ValueError, match=r"here 501 of them from 0 to 500; scale the labels"):
        check_bins(501, 0.0, 500.0)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_trains(optimizer, modalities, task: str, toy_run) -> None:
    method = PMR(share=1.0)
    run = toy_run(method, optimizer=optimizer, modalities=modalities, task=task, epochs=4).run()
    assert all(p.isfinite().all() for p in run.network.parameters())
    record = run.modulation.record
    assert max(record["balance"].values()) > 0
    assert all(0 <= value <= 1 for value in record["prototype_score"].values())
    classes = 3 if task == "regression" else 2
    assert all(p.shape == (classes, 5) for p in method._prototypes.values())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_classes_that_the_sample_lacks_do_no_harm(task: str, toy_run) -> None:
    method = PMR(share=0.1)  # one sample of one class
    run = toy_run(method, epochs=3, task=task).run()
    assert all(p.isfinite().all() for p in run.network.parameters())


def test_a_pushed_modality_gets_a_gradient_of_its_own_and_the_fusion_none(toy_run) -> None:
    # Without entropy, the gradients of what is not pushed are those of joint training.
    method = PMR(share=1.0, mu=0.0)
    run = toy_run(method)
    found, plain = run.first_step_gradients(), toy_run(None).first_step_gradients()
    pushed = {n for n, beta in run.modulation.record["balance"].items() if beta > 0}
    assert 0 < len(pushed) < 3
    for name, gradient in plain.items():
        if not name.startswith("classifiers"):
            same = torch.allclose(found[name], gradient, atol=1e-7)
            assert same == (run.part(name) not in pushed), name


class Watched(PMR):
    """Keeps each epoch's prototypes beside the means of the classes, taken apart from it."""

    def __init__(self, run_of: list, **settings) -> None:
        super().__init__(**settings)
        self.run_of, self.seen, self.means = run_of, [], []

    def epoch_begins(self, run: Run) -> None:
        data = self.run_of[0].data
        inputs = torch.stack([item["image"] for item in data])
        label = torch.stack([item["label"] for item in data])
        with torch.no_grad():
            features = run.network.encode(inputs)
        self.means.append(
            {n: torch.stack([h[label == c].mean(0) for c in (0, 1)]) for n, h in features.items()}
        )
        super().epoch_begins(run)
        self.seen.append({n: p.clone() for n, p in self._prototypes.items()})


def test_untrained_prototypes_are_not_mixed_into_the_first_update(toy_run) -> None:
    # As main_Prototype_grad.py of the authors: momentum from the second update on.
    holder: list = []
    method = Watched(holder, share=1.0, momentum=0.5)
    holder.append(toy_run(method, epochs=4, lr=1.0))
    holder[0].run()
    for name in holder[0].network.modalities:
        first, second, third, fourth = (means[name] for means in method.means)
        assert (first - second).abs().max() > 1e-3
        mixed = (second + third) / 2
        for found, expected in zip(
            method.seen, [first, second, mixed, (mixed + fourth) / 2], strict=True
        ):
            torch.testing.assert_close(found[name], expected)


def test_after_the_last_epoch_it_is_joint_training(toy_run) -> None:
    ends = []
    for last in (2, None):
        run = toy_run(PMR(share=1.0, last_epoch=last), epochs=3)
        run.stopped(2)
        ends.append(run)
    pushed, plain = toy_run(PMR(share=1.0, last_epoch=2), epochs=3), toy_run(None, epochs=3)
    pushed.resumed(ends[0])
    for name in ("network", "optimizer"):
        getattr(plain, name).load_state_dict(getattr(ends[1], name).state_dict())
    plain.trainer.state.epoch_length = 1
    plain.trainer.state.epoch = plain.trainer.state.iteration = 2
    plain.run()
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(pushed.network.state_dict()[name], value)
    assert set(pushed.modulation.record["balance"].values()) == {0}


def test_prototypes_are_taken_without_a_trace(toy_run) -> None:
    plain = toy_run(None, epochs=3).run()
    found = toy_run(PMR(alpha=0.0, mu=0.0), epochs=3).run()
    for name, value in plain.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], value)


def test_modes_and_random_states_are_restored(toy_run) -> None:
    run = toy_run(PMR())
    inner = Run(
        network=run.network,
        encoders=run.network.encoders,
        classifiers=run.classifiers,
        task=run.task,
        optimizer=run.optimizer,
        batches=run.trainer.data_loader,
        prepare_batch=run.trainer.prepare_batch,
        device=torch.device("cpu"),
        epochs=1,
    )
    inner.network.train()
    inner.network.head.eval()
    before = torch.get_rng_state()
    with undisturbed(inner, 3):
        inner.network.eval()
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert inner.network.fusion.training
    assert not inner.network.head.training


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": -1}, r"alpha is -1; it is a number, 0 or larger"),
        ({"mu": "0"}, r"mu is '0'; it is a number"),
        ({"momentum": 1}, r"momentum is 1; it is a number in \[0, 0.999\]"),
        ({"share": 0}, r"share is 0; it is a number in \(0, 1\]"),
        ({"regularized_epochs": -1}, r"regularized_epochs is -1; it is a whole number"),
        ({"rule": "code"}, r"rule is 'code'; it is one of \['paper', 'released'\]"),
        ({"last_epoch": 0}, r"last_epoch is 0; it is a whole number, 1 or larger"),
        ({"seed": True}, r"seed is True"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PMR(**setting)


def test_data_that_cannot_be_indexed_are_refused(toy_run) -> None:
    run = toy_run(PMR())
    run.trainer.data_loader = iter(run.data)
    run.trainer.state.epoch_length = 1
    with pytest.raises(ValueError, match="reads parts of them by index"):
        run.run()
