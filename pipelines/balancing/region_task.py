"""The task of segmentation by regions that may overlap: a yes or no for each pixel and region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .scores import group_members
from .tasks import SegmentationTask


@dataclass(frozen=True)
class RegionTask(SegmentationTask):
    """Predictions are logits of R regions (B, R, ...), labels are class numbers (B, 1, ...).

    No paper of a method defines it; each yes or no is taken as a class of its own.

    Attributes:
        groups: class numbers of each region.
    """

    groups: Sequence[Sequence[int]] = ()

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Mean binary cross-entropy over the regions and pixels of each sample."""
        truth = group_members(label[:, 0], self.groups).to(prediction)
        losses = binary_cross_entropy_with_logits(prediction, truth, reduction="none")
        return losses.flatten(1).mean(1)

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """Probability of the true answer, averaged by region and answer, as far as they occur."""
        inside = group_members(label[:, 0], self.groups).flatten(2)
        probability = prediction.sigmoid().flatten(2)
        answers = torch.cat([inside, ~inside], dim=1)
        right = torch.cat([probability, 1 - probability], dim=1) * answers
        counts = answers.sum(2)
        present = counts > 0
        return (right.sum(2) / counts.clamp(min=1) * present).sum(1) / present.sum(1)

    def choices(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """No and yes, (B, 2, R, ...), for each region and pixel, and which is true."""
        logits = torch.stack([torch.zeros_like(prediction), prediction], dim=1)
        return logits, group_members(label[:, 0], self.groups).long()
