"""How sure a network is of its mask: a figure for each region, and entropy voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....data.brats.conventions import ALL_REGIONS, REGIONS

Array = NDArray[np.floating[Any]]


def confidence(
    probabilities: Array, classes: NDArray[np.integer[Any]], regions: Sequence[str] = REGIONS
) -> dict[str, float | None]:
    """Dice that the network itself expects of each region of its mask, if it is calibrated.

    With p the probability of the region in a voxel and M its mask, 2 Σ_M p / (|M| + Σ p): the
    expected overlap over the expected sizes. A network may be sure and wrong, above all of images
    unlike those of its training: compare cases with it, and do not take it for the Dice.

    Args:
        probabilities: of the classes, (4, ...), or (5, ...) with RC.
        classes: the mask, 0 to 3, or 4 for RC, (...).
        regions: those that the network tells.

    Returns:
        From 0 to 1 for each region; None for one that the mask does not have.
    """
    result: dict[str, float | None] = {}
    for region in regions:
        members = ALL_REGIONS[region]
        mask = np.isin(classes, members)
        likely = sum(probabilities[member] for member in members)
        size, total = float(mask.sum()), float(np.sum(likely, dtype=np.float64))
        inside = float(np.sum(likely, where=mask, dtype=np.float64))
        result[region] = round(2 * inside / (size + total), 4) if size else None
    return result


def entropy(probabilities: Array) -> NDArray[np.float32]:
    """Uncertainty of each voxel in bits: 0 for a certain class, 2 for four equal ones.

    Args:
        probabilities: of the classes, (4, ...) or (5, ...).

    Returns:
        float32 (...).
    """
    p = np.asarray(probabilities, np.float32)
    bits = p * np.log2(np.maximum(p, 1e-12))
    return np.abs(np.asarray(bits.sum(axis=0), np.float32))
