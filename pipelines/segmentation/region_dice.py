"""Dice of the regions of BraTS: WT, TC and ET."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...data.brats.conventions import ALL_REGIONS, REGIONS
from ..balancing.scores import Dice, group_counts, soft_counts
from .outputs import GROUPS, classes_of, tells_regions


class RegionDice(Dice):
    """Mean Dice of WT, TC and ET, per sample: the rule BraTS used until 2022.

    Predictions are logits of the classes background, NCR, ED and ET, shape (B, 4, H, W), and of RC
    too, shape (B, 5, H, W), or of the regions WT, TC and ET, shape (B, 3, H, W); :meth:`regions` is
    in the order WT, TC, ET.

    Args:
        smooth: see :class:`cggm.pipelines.balancing.scores.Dice`.
        soft: likewise.
    """

    def __init__(self, smooth: float = 1e-3, *, soft: bool = False) -> None:
        super().__init__(smooth, soft=soft, groups=GROUPS)

    def counts(self, prediction: Tensor, label: Tensor) -> Tensor:
        """See :class:`cggm.pipelines.balancing.scores.Dice`."""
        if not tells_regions(prediction):
            return super().counts(prediction, label)
        if self.soft:
            return soft_counts(prediction.float().sigmoid(), label[:, 0], GROUPS)
        return group_counts(classes_of(prediction), label[:, 0], GROUPS)


def region_counts(predicted: Tensor, true: Tensor, regions: Sequence[str] = REGIONS) -> Tensor:
    """Count pixels of each region: in both, predicted, true.

    Args:
        predicted: class numbers, shape (B, ...).
        true: class numbers of the same shape.
        regions: those wanted.

    Returns:
        float32 counts, shape (B, regions, 3).
    """
    return group_counts(predicted, true, [ALL_REGIONS[region] for region in regions])


def region_score(name: str) -> RegionDice:
    """Give the score of BraTS that a setting names: dice, or soft_dice of probabilities.

    Raises:
        ValueError: there is no such score.
    """
    if name not in ("dice", "soft_dice"):
        raise ValueError(
            f"there is no score {name!r} for segmentation; choose one of ['dice', 'soft_dice']"
        )
    return RegionDice(soft=name == "soft_dice")
