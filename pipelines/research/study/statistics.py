"""The difference between two methods whose tests share samples, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

TEST_TO_TRAIN = 1 / 3  # a fold of five tests, three train


@dataclass(frozen=True)
class Estimate:
    """A mean difference with its 95 % interval and two-sided p.

    Attributes:
        mean: of the paired differences.
        low: end of the interval.
        high: likewise.
        p: 1 where all differences are 0.
        count: pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int


def corrected_difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Compare two methods over the same divisions of the same samples.

    The trainings of two divisions share samples, so their differences are not independent and the
    plain paired t-test finds too much. The variance of the mean is s^2 (1 / n + n_test / n_train)
    instead of s^2 / n (Nadeau and Bengio, Machine Learning 52, 2003; for repeated cross-validation
    Bouckaert and Frank, PAKDD 2004).

    Args:
        ours: a figure per division.
        theirs: of the other method, in the same order.

    Raises:
        ValueError: fewer than three pairs, or not as many of both.

    >>> corrected_difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]).mean
    2.0
    """
    if len(ours) != len(theirs) or len(ours) < 3:
        raise ValueError(f"{len(ours)} and {len(theirs)} figures; expected three pairs or more")
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) * math.sqrt(1 / count + TEST_TO_TRAIN)
    if error < 1e-12:
        return Estimate(mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0, count)
    half = float(stats.t.ppf(0.975, count - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Estimate(mean, mean - half, mean + half, p, count)
