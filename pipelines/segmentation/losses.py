"""Losses of segmentation: the paper's soft Dice plus weighted cross-entropy; likewise by region."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ...data.brats.conventions import CLASSES
from ...data.errors import InputError
from ..balancing.scores import group_members
from .outputs import GROUPS, output_channels


class DiceCELoss(nn.Module):
    """L = L_Dice + lambda_1 L_CE, Appendix B of the CGGM paper.

    The paper does not say over what its Dice is pooled. ``dice="pooled"`` is what the authors
    released, one ratio over the batch and all foreground classes; ``dice="class"`` takes the ratio
    over the batch class by class and averages, so that a small class counts as much as a large
    one. (The authors' code also halves the sum, which halves the learning rate under SGD; the
    paper does not, nor does this.)

    Args:
        class_weights: weights of the cross-entropy, background first; the paper's are
            (0.2, 0.3, 0.25, 0.25).
        lambda_ce: lambda_1, weight of the cross-entropy; 1 in the paper.
        dice: "class" or "pooled".
    """

    # In the denominator only, as in the released code.
    SMOOTH = 0.01

    def __init__(
        self,
        class_weights: Sequence[float] = (0.2, 0.3, 0.25, 0.25),
        *,
        lambda_ce: float = 1.0,
        dice: str = "class",
    ) -> None:
        super().__init__()
        if dice not in ("class", "pooled"):
            raise ValueError(f"dice is {dice!r}; it is one of ['class', 'pooled']")
        self.class_weights = torch.tensor(class_weights)
        self.lambda_ce = lambda_ce
        self.pooled = dice == "pooled"
        self.dice = DiceLoss(
            include_background=False,
            softmax=True,
            to_onehot_y=True,
            batch=True,
            smooth_nr=0.0,
            smooth_dr=self.SMOOTH,
        )

    def forward(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            prediction: logits of slices (B, C, H, W) or volumes (B, C, X, Y, Z).
            label: class numbers, shape (B, 1, ...).
        """
        prediction, label = prediction.float(), label.long()
        weights = self.class_weights.to(prediction)
        ce = cross_entropy(prediction, label[:, 0], weight=weights)
        dice = self._pooled(prediction, label) if self.pooled else self._by_class(prediction, label)
        return dice + self.lambda_ce * ce

    def _by_class(self, prediction: Tensor, label: Tensor) -> Tensor:
        return self.dice(prediction, label)

    def _pooled(self, prediction: Tensor, label: Tensor) -> Tensor:
        probability = prediction.softmax(1)[:, 1:]
        truth = one_hot(label[:, 0], prediction.shape[1]).movedim(-1, 1)[:, 1:]
        overlap = (probability * truth).sum()
        return 1 - 2 * overlap / (probability.sum() + truth.sum() + self.SMOOTH)


class RegionLoss(nn.Module):
    """Soft Dice of WT, TC and ET, each over the batch, plus lambda times binary cross-entropy.

    Regions overlap, so each is a yes or no of its own, as winners of BraTS
    trained them (Isensee et al., arXiv 2011.00848).

    Args:
        lambda_ce: weight of the cross-entropy, a mean over regions and pixels.
    """

    def __init__(self, *, lambda_ce: float = 1.0) -> None:
        super().__init__()
        self.lambda_ce = lambda_ce
        smooth = DiceCELoss.SMOOTH
        self.dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=0.0, smooth_dr=smooth)

    def forward(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            prediction: logits of the regions, shape (B, 3, ...).
            label: class numbers, shape (B, 1, ...).
        """
        prediction = prediction.float()
        truth = group_members(label[:, 0], GROUPS).to(prediction)
        ce = binary_cross_entropy_with_logits(prediction, truth)
        return self.dice(prediction, truth) + self.lambda_ce * ce


def segmentation_loss(
    outputs: str,
    class_weights: Sequence[float] = (0.2, 0.3, 0.25, 0.25),
    *,
    lambda_ce: float = 1.0,
    dice: str = "class",
) -> nn.Module:
    """Build the loss of a kind of outputs.

    Args:
        outputs: "regions" for :class:`RegionLoss`, else :class:`DiceCELoss`.
        class_weights: one for each class; regions have none.
        lambda_ce: weight of the cross-entropy.
        dice: of the classes; a region has always a Dice of its own.

    Raises:
        InputError: there is no such kind of outputs, or not as many weights as classes.
    """
    channels = output_channels(outputs)
    if outputs == "regions":
        return RegionLoss(lambda_ce=lambda_ce)
    if len(class_weights) != channels:
        raise InputError(
            f"'class_weights' is {list(class_weights)}; with outputs {outputs} it must be "
            f"{channels} numbers, for {', '.join(CLASSES[:channels])}"
        )
    return DiceCELoss(class_weights, lambda_ce=lambda_ce, dice=dice)
