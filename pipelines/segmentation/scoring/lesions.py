"""Lesion-wise Dice and HD95 by the rule of BraTS 2023.

A lesion is a part of the truth whose dilation is connected (26 neighbors), so that small parts
near a larger one belong to it. Every connected part of the prediction that touches the dilation of
a lesion is matched to it, to several lesions if it touches several, and is compared as a whole. A
lesion without a match is missed: Dice 0, HD95 374 mm. A part without a lesion is a false one and
counts the same. Lesions up to a volume count neither as found nor as missed, and what is matched to
them is not false. The figures of a case are the means over its counted lesions and false parts; 1
and 0 mm where there is neither.

Source: the evaluation script of BraTS 2023, github.com/rachitsaluja/BraTS-2023-Metrics. Its HD95
weighs surfaces by area; ours is that of :mod:`.surfaces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ....data.errors import look_up
from .empty_regions import LESION_PENALTY_MM
from .surfaces import bounding_box, hd95, surface_distances

_NEIGHBORS_18 = ndimage.generate_binary_structure(3, 2)
_NEIGHBORS_26 = ndimage.generate_binary_structure(3, 3)


class LesionRule(NamedTuple):
    """The two numbers that differ between the challenges of 2023.

    Attributes:
        dilation: steps of dilation by 18 neighbors.
        ignored_mm3: lesions of this volume or less do not count.
    """

    dilation: int
    ignored_mm3: float


LESION_RULES = {
    "gli": LesionRule(3, 50),  # glioma
    "ssa": LesionRule(3, 50),  # sub-Saharan Africa
    "ped": LesionRule(3, 50),  # pediatric
    "men": LesionRule(1, 50),  # meningioma
    "met": LesionRule(1, 2),  # metastases
}


class LesionScores(NamedTuple):
    """Lesion-wise figures of one region of a case.

    Attributes:
        dice: mean over lesions and false parts, in [0, 1].
        hd95_mm: likewise.
        found: counted lesions that something predicted touches.
        missed: counted lesions that nothing predicted touches.
        false: connected parts of the prediction that touch no lesion.
    """

    dice: float
    hd95_mm: float
    found: int
    missed: int
    false: int


def lesion_rule_named(name: str) -> LesionRule:
    """Look the numbers of a challenge up.

    Raises:
        ValueError: no challenge has this name.
    """
    return look_up(name, LESION_RULES, "lesion rule")


def lesion_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    rule: LesionRule,
    *,
    whole_hd95: float | None = None,
) -> LesionScores:
    """Score a region lesion by lesion.

    Args:
        prediction: bool, shape (X, Y, Z); the box around both masks is enough.
        truth: bool of the same shape.
        spacing: size of a voxel in mm along each axis.
        rule: dilation and smallest lesion.
        whole_hd95: HD95 of the whole masks if it is known already; saves time for a single lesion.
    """
    dilated = _dilated(truth, rule.dilation)
    grown, parts = _connected(dilated), _connected(prediction)
    lesions, count = int(grown.max(initial=0)), int(parts.max(initial=0))
    touch = np.zeros((lesions + 1, count + 1), bool)
    both = dilated & prediction
    touch[grown[both], parts[both]] = True
    volumes = np.bincount(grown[truth], minlength=lesions + 1) * float(np.prod(spacing))
    counted = [i for i in range(1, lesions + 1) if volumes[i] > rule.ignored_mm3]
    found = [i for i in counted if touch[i].any()]
    figures: list[tuple[float, float]] = []
    for lesion in found:
        if lesions == 1 and touch[1, 1:].all() and whole_hd95 is not None:
            figures.append((overlap_dice(prediction, truth), whole_hd95))
        else:
            matched = touch[lesion][parts]
            figures.append(_compared(matched, truth & (grown == lesion), spacing))
    missed, false = len(counted) - len(found), int((~touch[1:, 1:].any(0)).sum())
    figures += [(0.0, LESION_PENALTY_MM)] * (missed + false)
    dice, distance = np.mean(figures, axis=0).tolist() if figures else (1.0, 0.0)
    return LesionScores(dice, distance, len(found), missed, false)


def overlap_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks, not both empty, in [0, 1]."""
    sizes = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(prediction & truth)) / sizes


def _dilated(mask: np.ndarray, steps: int) -> np.ndarray:
    # SciPy would dilate without end for 0 steps.
    return ndimage.binary_dilation(mask, _NEIGHBORS_18, iterations=steps) if steps else mask


def _connected(mask: np.ndarray) -> np.ndarray:
    """Number the connected parts of a mask from 1 on."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, _NEIGHBORS_26, output=numbers)
    return numbers


def _compared(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]
) -> tuple[float, float]:
    box = bounding_box(prediction | truth)
    prediction, truth = prediction[box], truth[box]
    return overlap_dice(prediction, truth), hd95(surface_distances(prediction, truth, spacing))
