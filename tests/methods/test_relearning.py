"""Re-learning: a way back towards the start for encoders that overfit, and only for them."""

import math

import pytest
import torch

from cggm.pipelines.methods.relearning import Relearning, purity, separability, strength


def test_strength_is_between_nothing_and_everything() -> None:
    assert strength(torch.zeros(2)).tolist() == [0, 0]
    assert 0.99 < strength(torch.ones(1)).item() < 1


def test_purity_counts_the_majority_of_each_cluster() -> None:
    classes = torch.tensor([0, 0, 2, 2, 2, 5])
    assert purity(classes, torch.tensor([1, 1, 0, 0, 0, 2])) == 1
    assert purity(classes, torch.zeros(6, dtype=torch.long)) == 0.5


def test_separable_features_have_a_higher_purity() -> None:
    draw = torch.Generator().manual_seed(0)
    classes = torch.arange(90) % 3
    noise = torch.randn(90, 4, generator=draw)
    apart = noise * 0.1 + 10 * torch.nn.functional.one_hot(classes, 4)
    assert separability(apart, classes) == 1
    assert separability(noise, classes) < 0.6
    assert separability(torch.zeros(90, 4), classes) == pytest.approx(1 / 3)


def test_held_out_samples_give_no_gradient_until_the_last_diagnosis(toy_run) -> None:
    method = Relearning(every=1, held_out=0.25)
    run = toy_run(method, epochs=2)
    found = run.first_step_gradients()
    judges = set(method._judges)
    assert len(judges) == 2
    plain = toy_run(None)
    kept = [item for item in plain.data if item["id"] not in judges]
    inputs = torch.stack([item["image"] for item in kept])
    label = torch.stack([item["label"] for item in kept])
    plain.task.loss(plain.network(inputs), label).backward()
    for name, parameter in plain.network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


class Rows(Relearning):
    """Keeps how many of the samples' predictions each step's loss depends on, by epoch."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.counts: list[int] = []

    def loss(self, step):
        loss = super().loss(step)
        (gradient,) = torch.autograd.grad(loss, step.prediction, retain_graph=True)
        self.counts.append(int(gradient.abs().sum(1).gt(0).sum()))
        return loss


@pytest.mark.parametrize(
    ("epochs", "settings", "diagnosed"),
    [
        # The released proportions, 50 epochs and every 20: two of at most three diagnoses happen.
        (5, {"every": 2}, [3, 5]),
        (5, {"every": 2, "times": 1}, [3]),
        (7, {"every": 2}, [3, 5, 7]),
        (2, {"every": 2}, []),
    ],
)
def test_all_samples_are_trained_on_after_the_last_diagnosis_there_is_room_for(
    epochs: int, settings: dict, diagnosed: list[int], toy_run
) -> None:
    method = Rows(held_out=0.25, **settings)
    toy_run(method, epochs=epochs).run()
    last = max(diagnosed, default=1)
    assert method.counts == [8 if epoch >= last else 6 for epoch in range(1, epochs + 1)]
    assert method.state_dict()["done"] == len(diagnosed)


def test_the_defaults_train_on_all_samples_of_the_epochs_they_are_quoted_for(toy_run) -> None:
    method = Rows()
    toy_run(method, epochs=50, samples=10, batch_size=10).run()
    assert method.counts == [9] * 40 + [10] * 10


def test_a_batch_of_held_out_samples_changes_nothing(toy_run) -> None:
    method = Relearning(every=1, held_out=0.5)
    run = toy_run(method, samples=8, batch_size=1, epochs=2)
    seen = []
    step = run.optimizer.step

    def spy(*args, **kwargs):
        seen.append(float(run.network.head.weight.grad.abs().sum()))
        return step(*args, **kwargs)

    run.optimizer.step = spy
    run.run()
    held_out = [item["id"] in method._judges for item in run.data]
    assert [gradient == 0 for gradient in seen[:8]] == held_out
    assert sum(held_out) == 4


class Spied(Relearning):
    """Keeps the parameters around each diagnosis, which never finds two gaps alike."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[tuple[int, dict, dict]] = []

    def _diagnose(self, run):
        return super()._diagnose(run) / 10 + 0.1 * torch.arange(len(run.modalities))

    def epoch_begins(self, run) -> None:
        before = {n: v.clone() for n, v in run.network.state_dict().items()}
        done, random_state = self._done, torch.get_rng_state()
        super().epoch_begins(run)
        assert torch.equal(torch.get_rng_state(), random_state)
        if self._done > done:
            after = {n: v.clone() for n, v in run.network.state_dict().items()}
            self.seen.append((run.epoch, before, after))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_encoders_move_back_by_their_own_strength(
    optimizer, modalities, task: str, toy_run
) -> None:
    method = Spied(every=2, times=2, held_out=0.5)
    run = toy_run(
        method, optimizer=optimizer, modalities=modalities, task=task, epochs=7, samples=60
    )
    initial = {n: v.clone() for n, v in run.network.state_dict().items()}
    run.run()
    assert [epoch for epoch, _, _ in method.seen] == [3, 5]  # at most two times
    record = run.modulation.record
    assert sorted(set(record["strength"].values())) == list(record["strength"].values())
    _, before, after = method.seen[-1]
    for name, value in after.items():
        part = run.part(name)
        alpha = 0.0 if part == "fusion" else record["strength"][part]
        expected = alpha * initial[name] + (1 - alpha) * before[name]
        torch.testing.assert_close(value, expected)
    for name, gap in record["purity_gap"].items():
        assert record["strength"][name] == pytest.approx(math.tanh(3 * gap), rel=1e-5)


def test_equal_modalities_get_equal_strengths(toy_run) -> None:
    method = Relearning(every=1, held_out=0.5)
    run = toy_run(method, epochs=2, samples=24)
    for item in run.data:
        item["image"] = item["image"][:1].expand(3, 3)
    state = run.network.encoders["audio"].state_dict()
    for encoder in run.network.encoders.values():
        encoder.load_state_dict(state)
    for group in run.optimizer.param_groups:
        group["lr"] = 0.0
    run.run()
    assert len(set(run.modulation.record["strength"].values())) == 1


def test_samples_without_ids_are_refused(toy_run) -> None:
    run = toy_run(Relearning())
    for item in run.data:
        del item["id"]
    with pytest.raises(ValueError, match="batches need an entry 'id' or 'case'"):
        run.run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"every": 0}, r"every is 0; it is a whole number, 1 or larger"),
        ({"times": "3"}, r"times is '3'; it is a whole number"),
        ({"lam": -1}, r"lam is -1; it is a number, 0 or larger"),
        ({"held_out": 0}, r"held_out is 0; it is a number in \(0, 0.5\]"),
        ({"seed": 0.5}, r"seed is 0.5; it is a whole number"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Relearning(**setting)
