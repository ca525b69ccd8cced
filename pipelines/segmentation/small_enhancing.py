"""Enhancing tumor too small to be believed: how small is chosen on validation, masks obey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...data.brats.conventions import CLASSES
from ..handlers.checkpoint_file import Weights, description_of, files_of

NCR, ET = CLASSES.index("NCR"), CLASSES.index("ET")
# Below what RANO calls measurable, 10 x 10 mm: a ball of that width has 0.52 ml.
SIZES_ML = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
ENTRY = "smallest_et"  # of a network's description


def choose_smallest_et(counts: Tensor, voxel_ml: Tensor) -> float:
    """Choose below which volume predicted ET does more harm than good.

    Without ET in the truth, one voxel of it makes the Dice 0: networks that won BraTS leave out
    what is too small (Isensee et al., nnU-Net for BraTS 2020). Of the sizes with the best mean Dice
    the largest is taken; none is so large that a lesion which RANO calls measurable could vanish.

    Args:
        counts: voxels of ET in both, predicted and true, by case, shape (cases, 3).
        voxel_ml: volume of a voxel of each case in milliliters, shape (cases,).

    Returns:
        One of `SIZES_ML`, in milliliters; 0 leaves every mask as it is.
    """
    overlap, predicted, true = counts.double().unbind(-1)
    means = []
    for size in SIZES_ML:
        kept = predicted * voxel_ml >= size
        total = predicted * kept + true
        dice = torch.where(total == 0, 1.0, 2 * overlap * kept / total.clamp(min=1))
        means.append(round(float(dice.mean()), 6))
    best = max(zip(means, SIZES_ML, strict=True))[1] if len(counts) else 0.0
    return best if max(means, default=0) > means[0] else 0.0


def smallest_et(weights: Weights) -> float:
    """Read the size that was chosen for some weights in training, in milliliters.

    Args:
        weights: a file, or several, whose mean is taken; 0 for what never was validated.
    """
    sizes = [float(description_of(file).get(ENTRY) or 0) for file in files_of(weights)]
    return sum(sizes) / len(sizes)


def drop_small_et(classes: Tensor, voxel_ml: float, smallest_ml: float) -> float:
    """Count ET as NCR, in place, where all of it together is too small.

    It stays in TC and WT.

    Args:
        classes: 0 to 3 of one case, any shape.
        voxel_ml: volume of a voxel in milliliters.
        smallest_ml: what is kept has at least this volume.

    Returns:
        The volume of ET that is NCR now, in milliliters.
    """
    enhancing = classes == ET
    volume = float(enhancing.sum()) * voxel_ml
    if not 0 < volume < smallest_ml:
        return 0.0
    classes[enhancing] = NCR
    return volume


def small_et_remark(volume: float) -> str:
    """Say that ET was counted as NCR, as `drop_small_et` tells its volume."""
    return f"{volume:.2g} ml of ET counted as NCR: too small to be believed"


class DropSmallET:
    """Transform of what an evaluator predicted, see :func:`drop_small_et`.

    Args:
        smallest_ml: for each prediction of a case alone, in milliliters.
    """

    def __init__(self, smallest_ml: float) -> None:
        self.smallest_ml = smallest_ml

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Change "pred", class numbers (B, predictions, X, Y, Z), by "voxel_ml" of B cases.

        Adds "small_et_ml", what was changed, of shape (B, predictions).
        """
        changed = [
            [drop_small_et(part, float(voxel_ml), self.smallest_ml) for part in parts]
            for parts, voxel_ml in zip(data["pred"], data["voxel_ml"], strict=True)
        ]
        return {**data, "small_et_ml": torch.tensor(changed)}
