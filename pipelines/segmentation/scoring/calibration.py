"""Calibration of voxel probabilities: the expected calibration error."""

from __future__ import annotations

import numpy as np

BINS = 15


def expected_calibration_error(
    probability: np.ndarray,
    truth: np.ndarray,
    *,
    within: np.ndarray | None = None,
    bins: int = BINS,
) -> float:
    """Mean distance between the probability of a region and how often it is there, in [0, 1].

    Voxels are sorted by probability into bins of one width; the distances of the bins' mean
    probability from their share of true voxels are weighted by their numbers of voxels (Naeini et
    al., AAAI 2015, of the region's own probability). In a whole image nearly all voxels are
    certain background and hide the error: give the voxels that matter, such as the brain.

    Args:
        probability: of the region, in [0, 1], any shape.
        truth: bool of the same shape.
        within: bool of the same shape; voxels that count. None takes all.
        bins: their number.

    Returns:
        The error; NaN where no voxel counts.

    Raises:
        ValueError: the shapes differ, or a probability is none.
    """
    probability, truth = np.asarray(probability), np.asarray(truth, bool)
    if probability.shape != truth.shape or (within is not None and within.shape != truth.shape):
        shapes = [array.shape for array in (probability, truth, within) if array is not None]
        raise ValueError(f"the arrays have the shapes {shapes}; they need the same one")
    if within is not None:
        probability, truth = probability[within], truth[within]
    if not probability.size:
        return float("nan")
    probability, truth = probability.ravel().astype(np.float64), truth.ravel()
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError(
            f"probabilities lie between {probability.min():g} and {probability.max():g}; expected "
            "[0, 1]: are they logits?"
        )
    return float(np.abs(calibration_gaps(probability, truth, bins=bins)).sum() / probability.size)


def calibration_gaps(probability: np.ndarray, truth: np.ndarray, *, bins: int = BINS) -> np.ndarray:
    """Sum of probability minus truth in each bin: those of the parts of an image add up.

    Args:
        probability: shape (N,), in [0, 1].
        truth: bool, shape (N,).
        bins: their number.

    Returns:
        Shape (bins,). Their absolute values, summed and divided by all voxels, are the error.
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    return np.bincount(place, probability - truth, minlength=bins)
