"""Statistics of independent draws: paired differences, equivalence, ranks over cells, power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from ..report.statistics import difference, holm

POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline, over the draws that both have.

    Attributes:
        mean: difference in points.
        low: end of its 95 % interval.
        high: the other end.
        deviation: of the paired differences.
        p: of the two-sided paired t-test.
        p_equivalent: of two one-sided t-tests that the mean is within the equivalence region.
        pairs: how many.
    """

    mean: float
    low: float
    high: float
    deviation: float
    p: float
    p_equivalent: float
    pairs: int


def compare(ours: pd.Series, theirs: pd.Series, equivalence: float) -> Comparison | None:
    """Compare two methods draw by draw; None with fewer than three pairs.

    Draws are independent: of data, weights and batches. So the plain paired t-test holds.

    Args:
        ours: points by draw.
        theirs: of the baseline.
        equivalence: half the width of the region of practical equivalence, in points.

    >>> ours, theirs = pd.Series([3.0, 4.0, 5.5]), pd.Series([2.0, 4.0, 4.0])
    >>> round(compare(ours, theirs, equivalence=1.0).mean, 2)
    0.83
    """
    both = pd.concat([ours, theirs], axis="columns", join="inner").dropna().to_numpy()
    found = difference(pd.Series(both[:, 0]), pd.Series(both[:, 1]))
    if found is None or found.pairs < 3:
        return None
    gaps = both[:, 0] - both[:, 1]
    if math.isnan(found.p):  # no spread at all: the mean is exact
        same, within = abs(found.mean) < 1e-9, abs(found.mean) < equivalence
        return Comparison(
            found.mean, found.mean, found.mean, 0.0, float(same), float(not within), found.pairs
        )
    p_equivalent = DescrStatsW(gaps).ttost_mean(-equivalence, equivalence)[0]
    return Comparison(
        found.mean,
        found.low,
        found.high,
        float(gaps.std(ddof=1)),
        found.p,
        float(p_equivalent),
        found.pairs,
    )


def verdicts(comparisons: Sequence[Comparison], alpha: float) -> list[str]:
    """Say of each "better" or "worse", "equivalent", both, or "undecided", by Holm over all.

    Args:
        comparisons: the whole family of tests.
        alpha: chance of any wrong "better" or "worse", and of any wrong "equivalent".
    """
    differ = holm([one.p for one in comparisons]) < alpha
    alike = holm([one.p_equivalent for one in comparisons]) < alpha
    words = []
    for one, is_one, is_none in zip(comparisons, differ, alike, strict=True):
        sign = "better" if one.mean > 0 else "worse"
        found = ([sign] if is_one else []) + (["equivalent"] if is_none else [])
        words.append(", ".join(found) or "undecided")
    return words


def detectable(deviation: float, pairs: int, alpha: float) -> float:
    """The smallest true difference that a paired t-test finds with power 0.8, in points."""
    effect = TTestPower().solve_power(nobs=pairs, alpha=alpha, power=POWER)
    return np.asarray(effect).item() * deviation  # an array of one for many pairs


def pairs_for(gaps: pd.Series, half_width: float, alpha: float) -> int:
    """How many pairs leave an interval of this half width, by the deviation of those there are.

    It never rests on their mean, so looking at it favors no answer (Stein, Ann. Math. Statist. 16,
    1945).

    Args:
        gaps: differences of the pairs so far, in points; 3 or more.
        half_width: in points.
        alpha: 1 minus the level of the interval.

    >>> pairs_for(pd.Series([-3.0, 0.0, 3.0] * 10), half_width=0.9, alpha=0.05)
    33
    """
    reach = float(stats.t.ppf(1 - alpha / 2, len(gaps) - 1)) * float(gaps.std(ddof=1))
    return max(len(gaps), math.ceil((reach / half_width) ** 2))


@dataclass(frozen=True)
class Ranking:
    """Methods over several cells.

    Attributes:
        ranks: mean rank of each method, 1 the best, sorted.
        p: of Friedman's test that all are alike.
        alike: p of Nemenyi's test, method by method, for a critical-difference diagram.
        against: Holm-corrected p of Wilcoxon's signed-rank test of each method and the baseline.
        cells: how many.
    """

    ranks: pd.Series
    p: float
    alike: pd.DataFrame
    against: pd.Series
    cells: int


def ranking(scores: pd.DataFrame, baseline: str) -> Ranking | None:
    """Rank methods over cells (Demsar, JMLR 7, 2006); None with fewer than three of either.

    Args:
        scores: mean test score, a row per cell, a column per method.
        baseline: one of the columns.
    """
    scores = scores.dropna(axis="columns")
    if min(scores.shape) < 3 or baseline not in scores:
        return None
    others = scores.drop(columns=baseline)
    theirs = scores[baseline]
    against = [np.asarray(stats.wilcoxon(others[name], theirs))[1] for name in others]
    return Ranking(
        scores.rank(axis=1, ascending=False).mean().sort_values(kind="stable"),
        float(stats.friedmanchisquare(*scores.to_numpy().T).pvalue),
        scikit_posthocs.posthoc_nemenyi_friedman(scores.reset_index(drop=True)),
        pd.Series(holm(against), index=others.columns),
        len(scores),
    )
