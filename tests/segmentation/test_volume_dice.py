"""Dice per patient: equal to MONAI's on whole volumes, in any order."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.metrics import DiceMetric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data.brats.conventions import region_masks
from cggm.pipelines.segmentation.volume_dice import VolumeDice, dice_of_counts

CASES = ("P0", "P1", "P2")
SLICES = 5


def volumes(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predicted and true classes, shape (cases, slices, 6, 7); P1 has no ET, P2 no tumor at all."""
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(4, (len(CASES), SLICES, 6, 7), generator=generator)
    true = torch.randint(4, predicted.shape, generator=generator)
    true[1][true[1] == 3] = 2
    true[2] = predicted[2] = 0
    return predicted, true


def items(predicted: Tensor, true: Tensor) -> list[dict[str, Any]]:
    """A volume each, whose image is already its prediction."""
    return [
        {"image": predicted[case][None], "label": true[case][None], "case": name, "voxel_ml": 0.001}
        for case, name in enumerate(CASES)
    ]


def evaluate(data: Sequence[dict[str, Any]], batch_size: int = 4) -> dict[str, float]:
    """Metrics of MONAI's own evaluator, over a network that returns its input."""
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(list(data), batch_size=batch_size),
        network=nn.Identity(),
        key_val_metric={"dice/mean": VolumeDice(CASES)},
        decollate=False,
    )
    evaluator.run()
    return evaluator.state.metrics


def regions(classes: Tensor) -> Tensor:
    """One-hot WT, TC and ET of whole volumes, shape (cases, 3, slices, H, W)."""
    return torch.stack(list(region_masks(classes).values()), dim=1).float()


def test_equals_monai_on_whole_volumes() -> None:
    predicted, true = volumes()
    reference = DiceMetric(reduction="none", ignore_empty=False)
    per_case = reference(regions(predicted), regions(true))
    metrics = evaluate(items(predicted, true))
    expected = dict(zip(("dice/WT", "dice/TC", "dice/ET"), per_case.mean(0).tolist(), strict=True))
    assert metrics == pytest.approx({"dice/mean": per_case.mean().item(), **expected})


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_order_batching_and_repetition_of_volumes_change_nothing(batch_size: int) -> None:
    """Processes that share the cases show some twice, so that each has as many as the others."""
    first, second, third = data = items(*volumes())
    assert evaluate([third, first, second], batch_size) == evaluate(data)
    assert evaluate([*data, first], batch_size) == evaluate(data)


def test_is_not_the_mean_over_slices() -> None:
    predicted, true = volumes()
    by_slice = DiceMetric(ignore_empty=False)(
        regions(predicted.flatten(0, 1)[:, None]), regions(true.flatten(0, 1)[:, None])
    )
    assert abs(evaluate(items(predicted, true))["dice/mean"] - by_slice.mean().item()) > 1e-3


def test_a_second_run_forgets_the_first() -> None:
    metric = VolumeDice(["P0"])
    ones = torch.ones(1, 1, 2, 2, 2, dtype=torch.uint8)
    metric.update((ones, torch.zeros_like(ones), torch.ones(1), ["P0"]))
    assert metric.compute() == pytest.approx(1 / 3)  # NCR where nothing is: only ET is right
    metric.reset()
    metric.update((ones, ones, torch.ones(1), ["P0"]))
    assert metric.compute() == 1.0


def test_empty_regions_follow_the_rule_of_brats() -> None:
    counts = torch.tensor([[0, 0, 0], [0, 5, 0], [0, 0, 5], [2, 2, 2], [1, 2, 4]])
    assert dice_of_counts(counts).tolist() == pytest.approx([1.0, 0.0, 0.0, 1.0, 1 / 3])
