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


def mean_interval(values: np.ndarray, owners: Sequence[str], seed: int = 0) -> Interval:
    """The 95 % interval of a mean over cases, whose patients are drawn again.

    Args:
        values: one per case, shape (N,).
        owners: the patient of each case.
        seed: of the draws.

    Returns:
        Low and high; None with fewer than five patients, or where all resamples are equal.
    """
    names, patient = np.unique(np.asarray(owners), return_inverse=True)
    if len(names) < FEWEST_SAMPLES:
        return None
    sums, counts = np.bincount(patient, weights=values), np.bincount(patient)
    drawn = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    return percentile_interval(sums[drawn].sum(1) / counts[drawn].sum(1))
