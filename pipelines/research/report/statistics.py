"""Statistics over seeds and divisions: means, paired differences, and corrections of their p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_PAIRS = 3  # with fewer there is no interval and no test


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
