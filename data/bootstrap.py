"""Bootstrap intervals: how many samples and resamples they need, and where they end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_SAMPLES = 5  # with fewer no interval is given
RESAMPLES = 2000

Interval = tuple[float, float] | None


def percentile_interval(figures: np.ndarray) -> Interval:
    """The 95 % interval of a figure by the percentiles of its resamples.

    Args:
        figures: one per resample, shape (R,); those that are not finite are left out.

    Returns:
        Low and high; None where no resample differs from the others.
    """
    figures = figures[np.isfinite(figures)]
    if len(figures) == 0 or np.ptp(figures) == 0:
        return None
    low, high = np.percentile(figures, (2.5, 97.5))
    return float(low), float(high)


def mean_interval(
    values: np.ndarray, owners: Sequence[str] | None = None, *, seed: int = 0
) -> Interval:
    """The 95 % bootstrap interval (percentiles) of a mean.

    Args:
        values: shape (N,); those that are not finite are left out.
        owners: of each value, such as its patient: all values of one are drawn together.
        seed: of the resampling.

    Returns:
        Low and high; None below 5 owners, and where all values are the same.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    names = np.arange(len(values)) if owners is None else np.asarray(owners)
    _, owner = np.unique(names[finite], return_inverse=True)
    counts = np.bincount(owner)
    if len(counts) < FEWEST_SAMPLES or np.ptp(values[finite]) == 0:
        return None
    sums = np.bincount(owner, values[finite])
    drawn = np.random.default_rng(seed).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), size=RESAMPLES
    )
    return percentile_interval((drawn @ sums) / (drawn @ counts))
