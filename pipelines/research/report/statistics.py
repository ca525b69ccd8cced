"""Statistics over seeds and divisions: means, paired differences, and corrections of their p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_PAIRS = 3  # with fewer there is no interval and no test
TEST_TO_TRAIN = 1 / 3  # of five-fold divisions: one tests, one validates, three train


@dataclass(frozen=True)
class Difference:
    """A figure of one method minus that of another.

    Attributes:
        mean: of the paired differences.
        low: end of the 95 % interval of the mean; NaN where there is none.
        high: the other end.
        p: of the two-sided test that the mean is 0; NaN where there is none.
        pairs: how many.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def summarize(values: pd.Series, by: str | list[str] = "row") -> pd.DataFrame:
    """Means and standard deviations of groups, in the order of the series.

    Args:
        values: figures; NaN where undefined.
        by: levels of the index that make a group.

    Returns:
        A line per group with any value: ``mean``, ``sd`` (n - 1; NaN for one value), ``seeds``.
    """
    groups = values.groupby(by, sort=False)
    return groups.agg(mean="mean", sd="std", seeds="count").query("seeds > 0")


def difference(ours: pd.Series, theirs: pd.Series) -> Difference | None:
    """Compare two methods over the seeds that both have; None when they share none.

    The test is the plain paired t-test: seeds are independent trainings, tested on the same
    samples, and not parts of data that overlap. There is no test with fewer than 3 pairs, or
    where all differences are the same.

    Args:
        ours: a figure by seed.
        theirs: the other method's.
    """
    a, b = pd.concat([ours, theirs], axis="columns", join="inner").sort_index().to_numpy().T
    if len(a) == 0:
        return None
    mean = float(np.mean(a - b))
    # Rounded figures whose differences are all 0.1 differ by the last bit only: no spread.
    spread = np.ptp(a - b) > 1e-9 * max(1.0, float(np.abs(a).max()))
    if len(a) < FEWEST_PAIRS or not spread:
        return Difference(mean, math.nan, math.nan, math.nan, len(a))
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    return Difference(mean, float(low), float(high), float(test.pvalue), len(a))


def corrected_difference(
    ours: Sequence[float], theirs: Sequence[float], *, comparisons: int = 1
) -> Difference:
    """Compare two methods over the same divisions of the same samples.

    The trainings of two divisions share samples, so their differences are not independent and the
    plain paired t-test finds too much. The variance of the mean is s^2 (1 / n + n_test / n_train)
    instead of s^2 / n (Nadeau and Bengio, Machine Learning 52, 2003; for repeated cross-validation
    Bouckaert and Frank, PAKDD 2004). Without any spread the interval is the mean, and p is 0, or 1
    where all differences are 0.

    Args:
        ours: a figure per division.
        theirs: of the other method, in the same order.
        comparisons: how many intervals are to hold together with 95 % (Bonferroni); ``p`` is that
            of a single one.

    Raises:
        ValueError: fewer than three pairs, or not as many of both.

    >>> corrected_difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]).mean
    2.0
    """
    if len(ours) != len(theirs) or len(ours) < FEWEST_PAIRS:
        raise ValueError(f"{len(ours)} and {len(theirs)} figures; expected three pairs or more")
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) * math.sqrt(1 / count + TEST_TO_TRAIN)
    if error < 1e-12:
        return Difference(mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0, count)
    half = float(stats.t.ppf(1 - 0.025 / comparisons, count - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Difference(mean, mean - half, mean + half, p, count)


def holm(ps: Sequence[float] | pd.Series) -> np.ndarray:
    """Correct p-values for their number, by Holm's step-down method; NaN stays NaN.

    The smallest is multiplied by their number, the next by one less, and so on; none is smaller
    than the one before, none above 1.

    >>> holm([0.01, float("nan"), 0.04, 0.03]).round(3).tolist()
    [0.03, nan, 0.06, 0.06]
    """
    corrected = np.array(ps, dtype=float)
    tested = np.flatnonzero(~np.isnan(corrected))
    order = tested[np.argsort(corrected[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, factors * corrected[order]))
    return corrected
