"""Gradient blending: weights from what training is worth, and trials without a trace."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.pipelines.balancing.held_out import held_out_ids
from cggm.pipelines.methods.gblending import GBlending, blend_weights

# Training and held-out losses at N and N + n of a, b and joint.
BEFORE = torch.tensor([[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]])
AFTER = torch.tensor([[1.0, 2.3], [1.0, 1.6], [0.8, 1.4]])


def test_weights_are_those_of_the_optimal_blend() -> None:
    after = torch.tensor([[1.0, 1.5], [1.2, 1.6], [1.5, 1.9]])
    found = blend_weights(BEFORE, after)
    gain, overfitting = torch.tensor([0.5, 0.4, 0.1]), torch.tensor([0.5, 0.4, 0.4])
    expected = gain / overfitting**2
    assert found is not None
    torch.testing.assert_close(found, expected / expected.sum())


def test_without_any_gain_there_are_no_weights() -> None:
    assert blend_weights(BEFORE, BEFORE) is None
    assert blend_weights(BEFORE, BEFORE + 1) is None
    assert blend_weights(torch.zeros(3, 2), torch.zeros(3, 2)) is None


def test_a_loss_that_broke_down_or_does_not_overfit_does_not_break_the_blend() -> None:
    after = torch.tensor([[float("nan"), float("nan")], [1.0, 1.0], [0.5, 1.0]])
    found = blend_weights(BEFORE, after)
    assert found is not None
    assert found[0] == 0
    # The gap of the second did not grow at all: it counts as 1 % of the loss.
    assert found[1].item() == pytest.approx((1 / 0.02**2) / (1 / 0.02**2 + 1 / 0.5**2))


def test_weights_permute_and_equal_outputs_get_equal_ones() -> None:
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        blend_weights(BEFORE[order], AFTER[order]), blend_weights(BEFORE, AFTER)[order]
    )
    assert blend_weights(BEFORE, AFTER[1:2].expand(3, 2)).tolist() == pytest.approx([1 / 3] * 3)


def test_a_share_of_the_ids_is_held_out() -> None:
    ids = [f"case-{i // 4}" for i in range(40)]
    found = held_out_ids(ids, 0.2, 0)
    assert len(found) == 2
    assert found == held_out_ids(ids[::-1], 0.2, 0)
    assert len(held_out_ids(["a", "b"], 0.01, 0)) == 1
    assert any(found != held_out_ids(ids, 0.2, seed) for seed in range(1, 4))


def learnable(run):
    """Let the modalities tell the class: the first clearly, the last hardly."""
    for item in run.data:
        signal = torch.tensor([2.0, 1.0, 0.3]) * (2 * item["label"] - 1)
        item["image"] = item["image"] + signal[:, None]
    return run


def blended(toy_run, **settings):
    return learnable(toy_run(GBlending(trial_epochs=3, **settings), samples=24))


def test_the_loss_is_the_blend_and_reaches_the_encoders(toy_run) -> None:
    run = blended(toy_run)
    found = run.first_step_gradients()
    weights = run.modulation.method._weights
    assert float(weights.sum()) == pytest.approx(1)
    assert len(set(weights.tolist())) > 1
    assert list(run.modulation.record["balance"].values()) == pytest.approx(weights[:-1].tolist())

    plain = learnable(toy_run(None, samples=24))
    classifiers = plain.classifiers
    batch = plain.data[:8]
    inputs = torch.stack([item["image"] for item in batch])
    label = torch.stack([item["label"] for item in batch])
    features = plain.network.encode(inputs)
    losses = [plain.task.loss(classifiers[n](f), label) for n, f in features.items()]
    losses.append(plain.task.loss(plain.network.fuse(features), label))
    (weights.float() * torch.stack(losses)).sum().backward()
    for name, parameter in plain.network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    for name, parameter in classifiers.named_parameters():
        torch.testing.assert_close(found[f"classifiers.{name}"], parameter.grad)


class Constant(GBlending):
    """The blend that equals joint training, still estimated."""

    def epoch_begins(self, run) -> None:
        state = copy.deepcopy(run.network.state_dict())
        random_state = torch.get_rng_state()
        super().epoch_begins(run)
        assert all(torch.equal(v, state[n]) for n, v in run.network.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random_state)
        assert not run.optimizer.state
        self._weights = torch.tensor([0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_trial_leaves_no_trace(optimizer, toy_run) -> None:
    runs = []
    for method in (None, Constant(trial_epochs=2)):
        run = toy_run(method, optimizer=optimizer, samples=24)
        run.network.fusion.append(nn.BatchNorm1d(4))
        run.network.fusion.append(nn.Dropout(0.5))
        # Shuffled, so that the order of the data shows whether random states were touched.
        run.trainer.data_loader = DataLoader(run.data, batch_size=8, shuffle=True)
        torch.manual_seed(5)
        runs.append(run.run())
    plain, found = (run.network.state_dict() for run in runs)
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_trains(optimizer, modalities, task: str, toy_run) -> None:
    method = GBlending(trial_epochs=1)
    run = toy_run(method, optimizer=optimizer, modalities=modalities, task=task, samples=24).run()
    assert all(p.isfinite().all() for p in run.network.parameters())
    assert method._weights.shape == (len(modalities) + 1,)
    assert method._weights.min() >= 0


def test_a_schedule_that_warms_up_does_not_starve_the_trial(toy_run) -> None:
    weights: list[Tensor] = []
    for factor in (1.0, 1e-9):
        run = blended(toy_run)
        for group in run.optimizer.param_groups:
            group["initial_lr"], group["lr"] = group["lr"], group["lr"] * factor
        weights.append(run.run().modulation.method._weights)
        assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)
    torch.testing.assert_close(*weights)


def test_offline_estimates_once_and_online_every_super_epoch(toy_run) -> None:
    for mode, expected in (("offline", [1]), ("online", [1, 3, 5])):
        epochs: list[int] = []

        class Counted(GBlending):
            def _estimate(self, run, epochs=epochs):
                epochs.append(run.epoch)
                return super()._estimate(run)

        toy_run(Counted(mode, trial_epochs=2), epochs=5, samples=16).run()
        assert epochs == expected


def test_an_estimate_is_kept_over_a_restart(toy_run) -> None:
    settings = {"epochs": 4, "samples": 16}
    first = toy_run(GBlending("offline", trial_epochs=2), **settings).stopped(2)
    second = toy_run(GBlending("offline", trial_epochs=2), **settings)
    second.modulation.method._estimate = None  # not called
    second.resumed(first)
    assert torch.equal(second.modulation.method._weights, first.modulation.method._weights)


def test_a_list_of_batches_is_split_by_batches(toy_run) -> None:
    run = toy_run(GBlending(trial_epochs=1), samples=24)
    run.trainer.data_loader = list(run.trainer.data_loader)
    assert len(run.run().modulation.method._weights) == 4
    run = toy_run(GBlending(trial_epochs=1))
    run.trainer.data_loader = list(run.trainer.data_loader)
    with pytest.raises(ValueError, match="there is 1 sample or batch only"):
        run.run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "on"}, r"mode is 'on'; it is one of \['offline', 'online'\]"),
        ({"trial_epochs": 0}, r"trial_epochs is 0; it is a whole number, 1 or larger"),
        ({"held_out": 0.6}, r"held_out is 0.6; it is a number in \(0, 0.5\]"),
        ({"floor": 0}, r"floor is 0; it is a number in \(0, 1\]"),
        ({"seed": -1}, r"seed is -1; it is a whole number, 0 or larger"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GBlending(**setting)
