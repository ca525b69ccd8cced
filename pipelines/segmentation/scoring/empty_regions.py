"""Conventions for regions that are empty in the truth, in the prediction, or in both."""

from __future__ import annotations

import math
from typing import NamedTuple

from ....data.errors import look_up

BRATS_DIAGONAL_MM = math.hypot(240, 240, 155)  # 373.13: of the grid of BraTS, its penalty
LESION_PENALTY_MM = 374.0  # what the script of 2023 puts in the place of infinity


class EmptyScores(NamedTuple):
    """What a convention gives for one kind of empty region; NaN is undefined and left out."""

    dice: float
    hd95_mm: float


class EmptyRegions(NamedTuple):
    """A convention for empty regions.

    Attributes:
        name: as settings name it.
        both: for a region empty in truth and prediction.
        truth: empty in the truth alone: a false alarm.
        prediction: empty in the prediction alone: a miss.
        source: where it is from.
    """

    name: str
    both: EmptyScores
    truth: EmptyScores
    prediction: EmptyScores
    source: str

    def scores(self, *, truth: bool, prediction: bool) -> EmptyScores | None:
        """Dice and HD95 where something is empty; None where neither is.

        Args:
            truth: whether the truth is empty.
            prediction: whether the prediction is.
        """
        if truth and prediction:
            return self.both
        if truth:
            return self.truth
        return self.prediction if prediction else None


_UNDEFINED = float("nan")

CONVENTIONS = {
    convention.name: convention
    for convention in (
        EmptyRegions(
            "brats2021",
            EmptyScores(1, 0),
            EmptyScores(0, BRATS_DIAGONAL_MM),
            EmptyScores(0, BRATS_DIAGONAL_MM),
            "BraTS up to 2022: the diagonal of 240 x 240 x 155 mm as penalty",
        ),
        EmptyRegions(
            "brats2023",
            EmptyScores(1, 0),
            EmptyScores(0, LESION_PENALTY_MM),
            EmptyScores(0, LESION_PENALTY_MM),
            "BraTS 2023: 374 mm as penalty",
        ),
        EmptyRegions(
            "monai",
            EmptyScores(_UNDEFINED, _UNDEFINED),
            EmptyScores(_UNDEFINED, _UNDEFINED),
            EmptyScores(0, _UNDEFINED),
            "MONAI's metrics as they come: undefined and left out of every mean, so that false "
            "alarms do not count in Dice, and neither these nor misses in HD95",
        ),
    )
}


def empty_regions_named(name: str) -> EmptyRegions:
    """Look a convention up.

    Raises:
        ValueError: no convention has this name.
    """
    return look_up(name, CONVENTIONS, "convention for empty regions")
