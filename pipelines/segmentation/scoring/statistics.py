"""Figures over cases: means, medians, bootstrap intervals, limits of agreement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ....data.bootstrap import Interval, mean_interval
from ....data.patients import patient_of
from .cases import CaseScores

FIGURES = {
    "dice": "%",
    "hd95_mm": "mm",
    "surface_dice": "%",
    "sensitivity": "%",
    "specificity": "%",
    "volume_error_ml": "ml",
    "lesion_dice": "%",
    "lesion_hd95_mm": "mm",
}
"""Those that are averaged, with their units in files and tables."""


def in_unit(figure: str, value: float) -> float:
    """Give a figure in its unit: what is in [0, 1] in Python, in percent."""
    return 100 * value if FIGURES.get(figure) == "%" else value


class FigureSummary(NamedTuple):
    """One figure over cases; undefined values are left out of all but their number.

    Attributes:
        mean: NaN where no value is defined.
        interval_95: of the mean, by drawing patients; None below 5 of them.
        median: likewise NaN.
        values: number of cases where the figure is defined.
        undefined: number of the others.
    """

    mean: float
    interval_95: Interval
    median: float
    values: int
    undefined: int


class Agreement(NamedTuple):
    """Bland and Altman's limits of agreement of predicted and true volumes in ml.

    Attributes:
        bias: mean of predicted minus true.
        low: bias - 1.96 standard deviations of the difference; NaN for one case.
        high: bias + 1.96 standard deviations.
    """

    bias: float
    low: float
    high: float


class RegionSummary(NamedTuple):
    """One region over cases.

    Attributes:
        figures: those of :data:`FIGURES`.
        empty: number of cases with an empty "truth" or "prediction" alone, or "both".
        lesions: sums of lesions "found", "missed" and "false".
        agreement: of the volumes.
    """

    figures: dict[str, FigureSummary]
    empty: dict[str, int]
    lesions: dict[str, int]
    agreement: Agreement


def summarize(cases: Sequence[CaseScores], *, seed: int = 0) -> dict[str, RegionSummary]:
    """Figures over cases by region.

    Args:
        cases: at least one, all with the same regions.
        seed: of the bootstrap, which draws patients: the examinations of one go together.
    """
    patients = [patient_of(scores.case) for scores in cases]
    summaries = {}
    for name in cases[0].regions:
        scores = [case.regions[name] for case in cases]
        empty = Counter(score.empty for score in scores)
        summaries[name] = RegionSummary(
            {
                figure: summarize_figure([getattr(s, figure) for s in scores], patients, seed)
                for figure in FIGURES
            },
            {which: empty[which] for which in ("both", "truth", "prediction")},
            {
                "found": sum(score.lesions_found for score in scores),
                "missed": sum(score.lesions_missed for score in scores),
                "false": sum(score.lesions_false for score in scores),
            },
            limits_of_agreement([score.volume_error_ml for score in scores]),
        )
    return summaries


def summarize_figure(
    values: Sequence[float], patients: Sequence[str] | None = None, seed: int = 0
) -> FigureSummary:
    """Mean, interval and median of one figure.

    Args:
        values: one per case, NaN where undefined.
        patients: of each case; every case is a patient when not given.
        seed: of the bootstrap.
    """
    array = np.asarray(values, np.float64)
    defined = array[np.isfinite(array)]
    return FigureSummary(
        float(defined.mean()) if len(defined) else math.nan,
        mean_interval(array, patients, seed=seed),
        float(np.median(defined)) if len(defined) else math.nan,
        len(defined),
        len(array) - len(defined),
    )


def limits_of_agreement(differences: Sequence[float]) -> Agreement:
    """Limits that hold 95 % of normally distributed differences.

    Bland and Altman, The Lancet 1986. Every case counts as one, also several of a patient.

    Args:
        differences: predicted minus true volumes in ml, at least one.
    """
    bias = float(np.mean(differences))
    if len(differences) < 2:
        return Agreement(bias, math.nan, math.nan)
    spread = 1.96 * float(np.std(differences, ddof=1))
    return Agreement(bias, bias - spread, bias + spread)
