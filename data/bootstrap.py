"""Bootstrap intervals: how many samples and resamples they need, and where they end."""

from __future__ import annotations

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
