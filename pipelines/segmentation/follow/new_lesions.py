"""Enhancing lesions that were not there before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ....data.brats.checks import voxel_sizes
from .parts import connected_parts

MARGIN_MM = 5.0  # around the earlier tumor; what lies within has grown from it
SMALLEST_ML = 0.1  # of a new lesion: a ball of 6 mm

Affine = NDArray[np.float64]


class NewLesion(NamedTuple):
    """Volume of a new lesion, and how far from the earlier tumor it lies (infinite without)."""

    ml: float
    distance_mm: float


def new_lesions(
    enhancing: np.ndarray,
    affine: Affine,
    tumor: np.ndarray,
    tumor_affine: Affine,
    to_earlier: Affine,
    smallest_ml: float = SMALLEST_ML,
) -> list[NewLesion]:
    """Find the connected parts (26 neighbors) of ET that do not touch the earlier tumor.

    A part touches it when the center of one of its voxels lies within 5 mm of one of the tumor's.
    The two masks may lie on any grids.

    Args:
        enhancing: ET of the later date, bool (X, Y, Z).
        affine: its voxels to RAS mm, (4, 4).
        tumor: the whole tumor of the earlier date, bool (X', Y', Z').
        tumor_affine: its voxels to RAS mm, (4, 4).
        to_earlier: from RAS mm of the later date to those of the earlier one, (4, 4).
        smallest_ml: smaller parts do not count.

    Returns:
        The new lesions, the largest first.
    """
    earlier = KDTree(_points(np.argwhere(tumor), tumor_affine)) if tumor.any() else None
    voxel_ml = float(np.prod(voxel_sizes(affine))) / 1000
    found = []
    for voxels in connected_parts(enhancing):
        if (ml := len(voxels) * voxel_ml) < smallest_ml:
            continue
        points = _points(voxels, to_earlier @ affine)
        distance = np.inf if earlier is None else float(earlier.query(points)[0].min())
        if distance > MARGIN_MM:
            found.append(NewLesion(ml, distance))
    return sorted(found, reverse=True)


def _points(voxels: NDArray[np.intp], affine: Affine) -> NDArray[np.float64]:
    """The centers of voxels (N, 3) in mm."""
    return voxels @ affine[:3, :3].T + affine[:3, 3]
