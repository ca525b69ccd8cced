"""HD95 of the regions of BraTS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.brats.conventions import REGIONS, region_masks
from .scoring.empty_regions import empty_regions_named
from .scoring.surfaces import bounding_box, hd95, surface_distances

# For a region empty in truth and prediction 0 mm, in one of them the diagonal of BraTS' grid.
EMPTY_REGIONS = empty_regions_named("brats2021")


def region_hd95(
    predictions: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    regions: Sequence[str] = REGIONS,
) -> np.ndarray:
    """HD95 of several predictions of one volume, in mm.

    Args:
        predictions: class numbers, shape (N, X, Y, Z).
        truth: class numbers, shape (X, Y, Z).
        spacing: size of a voxel in mm along each axis.
        regions: those wanted.

    Returns:
        Shape (N, regions); regions that are empty count by the convention brats2021.
    """
    box = bounding_box(predictions.any(0) | (truth != 0))
    true = region_masks(truth[box], regions)
    distances = np.zeros((len(predictions), len(regions)))
    for row, prediction in zip(distances, predictions, strict=True):
        predicted = region_masks(prediction[box], regions)
        row[:] = [_hd95(predicted[region], true[region], spacing) for region in regions]
    return distances


def _hd95(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float:
    given = EMPTY_REGIONS.scores(truth=not truth.any(), prediction=not prediction.any())
    if given is not None:
        return given.hd95_mm
    box = bounding_box(prediction | truth)
    return hd95(surface_distances(prediction[box], truth[box], spacing))
