"""All figures of one region of one case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .empty_regions import empty_regions_named
from .lesions import lesion_rule_named, lesion_scores
from .surfaces import bounding_box, hd95, surface_dice, surface_distances

Empty = Literal["", "both", "truth", "prediction"]


@dataclass(frozen=True)
class ScoringRules:
    """What has to be said beside every figure.

    Args:
        empty_regions: convention for empty regions: brats2021, brats2023 or monai.
        tolerance_mm: of surface Dice.
        lesion_rule: challenge whose dilation and smallest lesion count: gli, men, met, ped, ssa.

    Raises:
        ValueError: there is no such convention or challenge, or the tolerance is below 0.
    """

    empty_regions: str = "brats2023"
    tolerance_mm: float = 1.0
    lesion_rule: str = "gli"

    def __post_init__(self) -> None:
        empty_regions_named(self.empty_regions)
        lesion_rule_named(self.lesion_rule)
        if not 0 <= self.tolerance_mm < math.inf:
            raise ValueError(
                f"the tolerance of surface Dice is {self.tolerance_mm:g}; it is a length in mm, 0 "
                "or more"
            )


@dataclass(frozen=True)
class RegionScores:
    """Figures of a region; NaN where one is undefined.

    Attributes:
        empty: which of the masks is empty: "", "truth", "prediction" or "both".
        dice: in [0, 1].
        hd95_mm: see :func:`.surfaces.hd95`.
        surface_dice: in [0, 1].
        sensitivity: share of the true voxels that were found; undefined for an empty truth.
        specificity: share of the other voxels of the image that were left out.
        predicted_ml: volume of the prediction.
        true_ml: volume of the truth.
        volume_error_ml: predicted minus true.
        lesion_dice: lesion-wise Dice, see :mod:`.lesions`.
        lesion_hd95_mm: lesion-wise HD95.
        lesions_found: counted lesions that were found.
        lesions_missed: counted lesions that were not.
        lesions_false: parts of the prediction at no lesion.
    """

    empty: Empty
    dice: float
    hd95_mm: float
    surface_dice: float
    sensitivity: float
    specificity: float
    predicted_ml: float
    true_ml: float
    volume_error_ml: float
    lesion_dice: float
    lesion_hd95_mm: float
    lesions_found: int
    lesions_missed: int
    lesions_false: int


def score_region(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    spacing: Sequence[float] = (1, 1, 1),
    rules: ScoringRules | None = None,
    voxels: int | None = None,
) -> RegionScores:
    """Score the mask of one region.

    Args:
        prediction: bool, shape (X, Y, Z).
        truth: bool of the same shape.
        spacing: size of a voxel in mm along each axis.
        rules: conventions; those of BraTS 2023 for gliomas when not given.
        voxels: number of voxels of the image when the masks are parts of it.

    Raises:
        ValueError: the shapes differ, or are not three-dimensional.
    """
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"the prediction has the shape {prediction.shape} and the truth {truth.shape}; both "
            "need one shape (X, Y, Z)"
        )
    rules, voxels = rules or ScoringRules(), truth.size if voxels is None else voxels
    lesion_rule = lesion_rule_named(rules.lesion_rule)
    box = bounding_box(prediction | truth)  # what a dilation reaches outside changes nothing
    prediction, truth = prediction[box], truth[box]
    predicted, true = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
    overlap = int(np.count_nonzero(prediction & truth))
    convention = empty_regions_named(rules.empty_regions)
    given = convention.scores(truth=not true, prediction=not predicted)
    if given is None:
        distances = surface_distances(prediction, truth, spacing)
        dice, distance = 2 * overlap / (predicted + true), hd95(distances)
        near = surface_dice(distances, rules.tolerance_mm)
    else:
        (dice, distance), near = given, convention.both.dice if not predicted + true else 0.0
    lesions = lesion_scores(prediction, truth, spacing, lesion_rule, whole_hd95=distance)
    ml = float(np.prod(spacing)) / 1000
    return RegionScores(
        _empty(true, predicted),
        dice,
        distance,
        near,
        overlap / true if true else math.nan,
        (voxels - predicted - true + overlap) / (voxels - true) if voxels > true else math.nan,
        predicted * ml,
        true * ml,
        (predicted - true) * ml,
        *lesions,
    )


def _empty(true: int, predicted: int) -> Empty:
    if true and predicted:
        return ""
    return "both" if not true + predicted else "prediction" if true else "truth"
