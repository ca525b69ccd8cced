"""Bootstrap intervals of the figures of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ...data.bootstrap import FEWEST_SAMPLES, RESAMPLES, Interval, percentile_interval
from .outcomes import confusion, figures_of_confusion, figures_of_values

# Numbers drawn at once; the formulas hold some ten times as many.
_BLOCK = 2**20


def classification_intervals(
    probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> dict[str, Interval]:
    """95 % bootstrap intervals (percentiles) of :func:`.outcomes.classification_figures`.

    Args:
        probabilities: of the classes, shape (N, C).
        labels: class numbers, shape (N,).
        seed: of the resampling.

    Returns:
        Low and high by figure; None below 5 samples, and where no resample differs.
    """
    counts = confusion(probabilities, labels)
    total = int(counts.sum())
    if total < FEWEST_SAMPLES:
        return dict.fromkeys(figures_of_confusion(counts))
    rng = np.random.default_rng(seed)
    # Drawing samples with replacement is drawing their cells of the matrix.
    shares = counts.ravel() / total
    parts = (
        figures_of_confusion(rng.multinomial(total, shares, size=size).reshape(-1, *counts.shape))
        for size in _sizes(counts.size)
    )
    return _intervals(parts)


def regression_intervals(
    values: np.ndarray,
    labels: np.ndarray,
    *,
    limits: tuple[float, float] | None = (-3, 3),
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % bootstrap intervals (percentiles) of :func:`.outcomes.regression_figures`.

    Args:
        values: predictions, shape (N,).
        labels: shape (N,).
        limits: as of :func:`.outcomes.regression_figures`.
        seed: of the resampling, which keeps prediction and label together.

    Returns:
        Low and high by figure; None below 5 samples, and where no resample differs.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels, np.float64)
    if len(values) < FEWEST_SAMPLES:
        return dict.fromkeys(figures_of_values(values, labels, limits=limits))
    rng = np.random.default_rng(seed)
    parts: list[Mapping[str, np.ndarray]] = []
    for size in _sizes(len(values)):
        drawn = rng.integers(len(values), size=(size, len(values)))
        parts.append(figures_of_values(values[drawn], labels[drawn], limits=limits))
    return _intervals(parts)


def _sizes(width: int) -> Iterator[int]:
    """Split the resamples, of so many numbers each, into blocks that fit into memory."""
    size = max(1, min(RESAMPLES, _BLOCK // width))
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)


def _intervals(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Interval]:
    """The interval of each figure, from blocks of its resamples."""
    blocks = list(parts)
    return {
        name: percentile_interval(np.concatenate([block[name] for block in blocks]))
        for name in blocks[0]
    }
