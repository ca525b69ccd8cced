"""Epsilon of eq. 6 for segmentation: how good is a prediction, sample by sample?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.conventions import REGIONS, region_mask


class RegionDice:
    """Mean Dice of WT, TC and ET, per sample.

    Dice = 2 (overlap + s) / (predicted + true + 2 s) with s = ``smooth``: a region that is empty
    in truth and prediction counts as 1, one predicted where there is none as almost 0, the rule
    BraTS used until 2022.

    Args:
        smooth: s, in pixels.
    """

    def __init__(self, smooth: float = 1e-3) -> None:
        self.smooth = smooth

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return one score per sample, in (0, 1], shape (B,).

        Args:
            prediction: logits of the classes background, NCR, ED, ET; shape (B, 4, H, W).
            label: class numbers, shape (B, 1, H, W).
        """
        return self.regions(prediction, label).mean(1)

    def regions(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Dice of each sample and region, shape (B, 3) in the order WT, TC, ET."""
        overlap, predicted, true = region_counts(prediction.argmax(1), label[:, 0]).unbind(-1)
        return 2 * (overlap + self.smooth) / (predicted + true + 2 * self.smooth)


def region_counts(predicted: Tensor, true: Tensor) -> Tensor:
    """Count pixels of each region: in both, predicted, true.

    Args:
        predicted: class numbers, shape (B, ...).
        true: class numbers of the same shape.

    Returns:
        float32 counts, shape (B, 3 regions, 3).
    """
    counts = []
    for region in REGIONS:
        p = region_mask(predicted, region).flatten(1)
        t = region_mask(true, region).flatten(1)
        counts.append(torch.stack([(p & t).sum(1), p.sum(1), t.sum(1)], dim=-1))
    return torch.stack(counts, dim=1).float()
