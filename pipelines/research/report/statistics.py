"""Is a method better than joint training, or is it chance? Statistics over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 3  # seeds, for an interval and a test


@dataclass(frozen=True)
class Summary:
    """A figure over seeds: mean, standard deviation (n - 1; None for one seed), seeds."""

    mean: float
    sd: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """A figure of one method minus that of another with the same seeds.

    The test is the plain one: seeds are independent trainings, tested on the same samples, and no
    parts of data that overlap, for which Nadeau and Bengio correct.

    Attributes:
        mean: of the differences.
        interval: 95 % interval of that mean, by Student's t; None with fewer than 3 pairs, or
            where all differences are the same.
        p: of the paired t-test, two-sided; None likewise.
        count: pairs.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    count: int


def summarize(values: Iterable[float]) -> Summary | None:
    """Mean and standard deviation; None without any value."""
    found = list(values)
    if not found:
        return None
    sd = float(np.std(found, ddof=1)) if len(found) > 1 else None
    return Summary(float(np.mean(found)), sd, len(found))


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Compare two methods over the seeds that both have; None when they share none.

    Args:
        ours: seed to figure.
        theirs: likewise.
    """
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return None
    a, b = (np.array([side[seed] for seed in seeds]) for side in (ours, theirs))
    mean = float(np.mean(a - b))
    # Rounded figures whose differences are all 0.1 differ by the last bit only: no spread.
    spread = np.ptp(a - b) > 1e-9 * max(1.0, float(np.abs(a).max()))
    if len(seeds) < FEWEST or not spread:
        return Difference(mean, None, None, len(seeds))
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    return Difference(mean, (float(low), float(high)), float(test.pvalue), len(seeds))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number, by Holm's step-down method; None stays None.

    The smallest is multiplied by their number, the next by one less, and so on; none is smaller
    than the one before, none above 1.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None and not math.isnan(p))
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected
