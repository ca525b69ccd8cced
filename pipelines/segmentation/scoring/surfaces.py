"""Surfaces of masks and the distances between them: HD95 and surface Dice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

_ROUNDING_MM = 1e-5  # voxel sizes come from headers in single precision

Box = tuple[slice, ...]


class SurfaceDistances(NamedTuple):
    """Distances in mm from each voxel of a surface to the nearest one of the other surface."""

    to_truth: np.ndarray
    to_prediction: np.ndarray


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box around a mask of any shape: a slice per axis, empty for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        side = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
        box.append(side)
        mask = mask[(slice(None),) * axis + (side,)]  # the next axis has less to look at
    return tuple(box)


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a face to the outside, which begins at the image's border.

    The surface of :mod:`monai.metrics`: mask without its erosion by a cross.

    Args:
        mask: bool, any number of axes.
    """
    padded = np.pad(mask, 1)
    inner = mask.copy()
    middle = [slice(1, -1)] * mask.ndim
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            inner &= padded[tuple(middle[:axis] + [side] + middle[axis + 1 :])]
    return mask & ~inner


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks, neither of them empty.

    Args:
        prediction: bool, shape (X, Y, Z).
        truth: bool of the same shape.
        spacing: size of a voxel in mm along each axis.
    """
    predicted, true = surface(prediction), surface(truth)
    return SurfaceDistances(_nearest(predicted, true, spacing), _nearest(true, predicted, spacing))


def hd95(distances: SurfaceDistances) -> float:
    """The 95th percentile of the Hausdorff distance in mm.

    The larger of the two directions' 95th percentiles, each interpolated linearly: what
    :func:`monai.metrics.compute_hausdorff_distance` gives.
    """
    return float(max(np.percentile(directed, 95) for directed in distances))


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Share of both surfaces' voxels that lie at most so far from the other surface, in [0, 1].

    Nikolov et al., arXiv 1809.04430, by numbers of voxels as
    :func:`monai.metrics.compute_surface_dice` counts by default.
    """
    near = sum(int((directed <= tolerance_mm + _ROUNDING_MM).sum()) for directed in distances)
    return near / sum(map(len, distances))


def _nearest(start: np.ndarray, end: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance from each voxel of `start` to the nearest of `end`, in no order.

    Only voxels that are neither in `end` nor right beside one of it are searched for in a tree:
    few, where a prediction is good.
    """
    scale = np.asarray(spacing, np.float64)
    shortest = scale.min()
    beside = np.zeros_like(end)
    for axis in np.flatnonzero(np.isclose(scale, shortest, rtol=1e-6)):
        grown, voxels = np.moveaxis(beside, axis, 0), np.moveaxis(end, axis, 0)
        grown[1:] |= voxels[:-1]
        grown[:-1] |= voxels[1:]
    outside = start & ~end
    apart = _places(outside & ~beside) * scale
    distances = np.zeros(int(np.count_nonzero(start)))
    distances[: np.count_nonzero(outside)] = shortest
    if len(apart):
        tree = KDTree(_places(end) * scale, leafsize=32)
        distances[: len(apart)] = tree.query(apart)[0]
    return distances


def _places(mask: np.ndarray) -> np.ndarray:
    """Indices of the voxels of a mask, shape (N, axes); several times faster than argwhere."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=-1)
