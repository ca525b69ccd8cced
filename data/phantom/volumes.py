"""The few operations on volumes that the simulation takes from SciPy, in float32 and typed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Array

Mask = NDArray[np.bool_]


def distance(mask: Mask, spacing: float) -> Array:
    """Distance in mm from each voxel of the mask to the nearest voxel outside, (X, Y, Z)."""
    return _single(ndimage.distance_transform_edt(mask, sampling=spacing))


def blurred(values: Array | Mask, voxels: float | Sequence[float]) -> Array:
    """Gaussian filter with a standard deviation in voxels, (X, Y, Z)."""
    return _single(ndimage.gaussian_filter(np.asarray(values, np.float32), voxels))


def sampled(values: Array, at: Array) -> Array:
    """Linear interpolation at voxel coordinates `at`, (3, ...); the border value outside."""
    return _single(ndimage.map_coordinates(values, at, order=1, mode="nearest"))


def moved_rigidly(values: Array, matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> Array:
    """The volume read at `matrix @ index + shift`, linear interpolation, zero outside."""
    at = shift.tolist()
    return _single(ndimage.affine_transform(values, matrix, at, order=1))


def voxel_indices(shape: Sequence[int]) -> Array:
    """Index of every voxel along each axis, (3, X, Y, Z)."""
    return np.indices(tuple(shape), dtype=np.float32)


def largest_piece(mask: Mask) -> Mask:
    """The largest connected piece, holes filled; all of an empty mask."""
    pieces = _numbered(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = mask & (pieces == sizes.argmax())
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def touching(mask: Mask, core: Mask) -> Mask:
    """The connected pieces of a mask that share a voxel with the core."""
    pieces = _numbered(mask)
    kept = np.unique(pieces[core & mask])
    return np.isin(pieces, kept) & mask


def _single(values: object) -> Array:
    """SciPy's result as a float32 array."""
    return np.asarray(values, dtype=np.float32)


def _numbered(mask: Mask) -> NDArray[np.int32]:
    """Number of the connected piece of each voxel, 0 outside."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=numbers)
    return numbers
