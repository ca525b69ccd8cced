"""OGM-GE: damping of the encoder that leads, noise as large as its gradient."""

import math

import pytest
import torch
from torch import Tensor

from cggm.pipelines.balancing import ClassificationTask, RegressionTask
from cggm.pipelines.balancing.error_scale import ErrorScale
from cggm.pipelines.balancing.randomness import seeded
from cggm.pipelines.balancing.scores import negative_error
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.ogm_ge import (
    OGMGE,
    coefficients,
    discrepancy_ratios,
    noisy,
)

from ..toy import ToyRun

AUDIO = [[2.0, 0, 0], [0, 1, 0], [0, 0, 1]]
LABELS = torch.tensor([0, 1, 2])


def scores(*logits: list[list[float]]) -> Tensor:
    task = ClassificationTask(torch.nn.CrossEntropyLoss(), lambda p, y: p[:, 0])
    return torch.stack([task.truth(torch.tensor(x).double(), LABELS).sum() for x in logits])


def test_equal_scores_damp_nobody_as_in_the_paper() -> None:
    """Released code damps the first modality, by 1 - tanh(alpha)."""
    ratios = discrepancy_ratios(scores(AUDIO, AUDIO))
    assert ratios.tolist() == [1, 1]
    assert coefficients(ratios, 0.5).tolist() == [1, 1]
    above = coefficients(torch.tensor([1 + 1e-6], dtype=torch.float64), 0.5)
    assert above.item() == pytest.approx(0.5378828427, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_factors_permute_with_the_modalities_and_are_equal_for_equal_ones(count: int) -> None:
    found = torch.rand(count, generator=torch.Generator().manual_seed(count))
    order = torch.randperm(count)

    def factors(values: Tensor) -> Tensor:
        return coefficients(discrepancy_ratios(values), 0.4)

    torch.testing.assert_close(factors(found[order]), factors(found)[order])
    assert factors(torch.full((count,), 0.3)).tolist() == [1] * count


@pytest.mark.parametrize("found", [[0.0, 0.0], [0.0, 0.5], [float("nan"), 0.5]])
def test_coefficients_are_finite_and_within_0_and_1(found: list[float]) -> None:
    factors = coefficients(discrepancy_ratios(torch.tensor(found)), 0.3)
    assert bool(((factors >= 0) & (factors <= 1)).all())


@pytest.mark.parametrize("shape", [(40000,), (200, 200), (20, 20, 10, 10), (10, 10, 10, 20, 20)])
def test_noise_is_as_large_as_the_gradient_before_it_was_scaled(shape: tuple[int, ...]) -> None:
    gradient = 3 + 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    noise = noisy(gradient, 0.2, seeded(1)) - 0.2 * gradient
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(0.5, rel=0.03)


def test_noise_is_scaled_with_the_loss() -> None:
    gradient = torch.randn(100)
    scaled = noisy(1024 * gradient, 0.5, seeded(1)) / 1024
    torch.testing.assert_close(scaled, noisy(gradient, 0.5, seeded(1)))


def test_zeros_and_single_numbers_get_no_noise() -> None:
    assert noisy(torch.zeros(3, 2), 0.5, seeded(1)).abs().sum() == 0
    assert noisy(torch.tensor([2.0]), 0.5, seeded(1)).tolist() == [1.0]


def test_running_error_follows_the_errors_and_is_never_0() -> None:
    task = RegressionTask(torch.nn.L1Loss(), negative_error)

    def update(scale: ErrorScale, errors: list[float]) -> float:
        prediction = torch.tensor(errors)[:, None]
        return scale.update(task, [prediction], torch.zeros_like(prediction))

    scale = ErrorScale()
    assert update(scale, [1.0, 3.0]) == 2.0
    assert update(scale, [1.0]) == pytest.approx(1.9)
    assert update(scale, [math.nan]) == pytest.approx(1.9)
    assert update(ErrorScale(), [0.0, 0.0]) > 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": -1}, r"alpha is -1; it is a number, 0 or larger"),
        ({"alpha": math.nan}, r"alpha is nan"),
        ({"ge": 1}, r"ge is 1; it is True or False"),
        ({"first_epoch": 0}, r"first_epoch is 0; it is a whole number, 1 or larger"),
        ({"last_epoch": 1.5}, r"last_epoch is 1.5"),
        ({"first_epoch": 5, "last_epoch": 4}, r"last_epoch is 4; it is first_epoch, 5, or later"),
        ({"seed": "1"}, r"seed is '1'; it is a whole number"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OGMGE(**setting)


def test_one_modality_is_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match=r"OGMGE balances 2 or more modalities"):
        toy_run(OGMGE(), modalities=["audio"]).run()


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_encoders_are_damped_and_nothing_else_is_touched(
    toy_run: type[ToyRun], count: int, accumulation_steps: int, task: str
) -> None:
    settings = {
        "modalities": ["audio", "text", "video", "touch"][:count],
        "accumulation_steps": accumulation_steps,
        "samples": 16,
        "batch_size": 16 // accumulation_steps,
        "task": task,
    }
    mine = toy_run(OGMGE(0.5, ge=False), **settings)
    changed = mine.first_step_gradients()
    plain = toy_run(Joint(), **settings).first_step_gradients()
    balance = mine.modulation.record["balance"]
    assert min(balance.values()) < max(balance.values()) == 1
    for name, gradient in plain.items():
        factor = balance.get(mine.part(name), 1.0)
        torch.testing.assert_close(changed[name], factor * gradient)


def test_coefficients_do_not_depend_on_how_a_step_is_accumulated(toy_run: type[ToyRun]) -> None:
    found = []
    for steps in (1, 2, 4):
        run = toy_run(OGMGE(0.5), samples=16, batch_size=16 // steps, accumulation_steps=steps)
        found.append(list(run.run().modulation.record["balance"].values()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] == pytest.approx(found[2], rel=1e-5)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_noise_reaches_every_tensor_of_the_encoders_and_no_other(
    toy_run: type[ToyRun], optimizer: type
) -> None:
    mine = toy_run(OGMGE(0.5), optimizer=optimizer)
    changed = mine.first_step_gradients()
    quiet = toy_run(OGMGE(0.5, ge=False), optimizer=optimizer).first_step_gradients()
    for name, gradient in quiet.items():
        is_encoder = name.startswith("encoders")
        assert torch.equal(changed[name], gradient) != is_encoder, name


def test_epochs_out_of_range_are_joint_training(toy_run: type[ToyRun]) -> None:
    late = toy_run(OGMGE(0.5, first_epoch=3), epochs=2).run()
    joint = toy_run(Joint(), epochs=2).run()
    early = toy_run(OGMGE(0.5, last_epoch=1), epochs=2).run()
    for name, tensor in joint.network.state_dict().items():
        assert torch.equal(late.network.state_dict()[name], tensor)
    assert set(early.modulation.record["balance"].values()) == {1.0}
    assert not torch.equal(early.network.head.weight, joint.network.head.weight)
