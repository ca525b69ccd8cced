"""The bidimensional product of a lesion, as RANO measures it.

A lesion is a connected part of a mask (26 neighbors). In one axial slice of it: the longest
diameter times the longest perpendicular to it, in mm² (Macdonald et al. 1990; RANO, Wen et al.
2010, J Clin Oncol 28:1963). Both are measured on the convex outline of all that the slice shows of
the lesion, so that necrosis, gaps of the rim and dents count. The outline runs through the points
halfway between a voxel inside and its neighbor outside: a row of n voxels has the length n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from .parts import connected_parts

_HALF_STEPS = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
_EQUAL_MM = 1e-6  # diameters that differ less are equally long

Points = NDArray[np.float64]


class Diameters(NamedTuple):
    """The longest diameter of a lesion, its longest perpendicular, and the axial slice."""

    longest_mm: float
    perpendicular_mm: float
    slice: int

    @property
    def product_mm2(self) -> float:
        """The bidimensional product."""
        return self.longest_mm * self.perpendicular_mm


def largest_product(mask: np.ndarray, spacing: Sequence[float]) -> Diameters | None:
    """Measure the lesion and slice with the largest product; None for an empty mask.

    Args:
        mask: bool, (X, Y, Z), the last axis from foot to head.
        spacing: size of a voxel in mm along each axis.
    """
    size = np.asarray(spacing[:2], float)
    parts: list[tuple[float, int, NDArray[np.intp]]] = []
    for voxels in connected_parts(mask):
        for z in np.unique(voxels[:, 2]).tolist():
            shown = voxels[voxels[:, 2] == z, :2]
            sides = (np.ptp(shown, axis=0) + 1) * size
            parts.append((float(sides @ sides), z, shown))  # no product is larger than that
    best: Diameters | None = None
    for bound, z, voxels in sorted(parts, key=lambda part: -part[0]):
        if best is not None and bound <= best.product_mm2:
            break
        longest, perpendicular = diameters_of(voxels, size)
        if best is None or longest * perpendicular > best.product_mm2:
            best = Diameters(longest, perpendicular, z)
    return best


def diameters_of(voxels: NDArray[np.intp], size: Points) -> tuple[float, float]:
    """The longest diameter of what a slice shows and its longest perpendicular, in mm.

    Args:
        voxels: indices of its voxels, (N, 2).
        size: of a voxel in mm, (2,).
    """
    outline = (voxels[:, None] + _HALF_STEPS).reshape(-1, 2) * size
    hull = outline[ConvexHull(outline).vertices]
    lengths = squareform(pdist(hull))
    longest = float(lengths.max())
    pairs = np.argwhere(np.triu(lengths) > longest - _EQUAL_MM).tolist()
    return longest, max(_longest_perpendicular(hull, hull[i], hull[j]) for i, j in pairs)


def _longest_perpendicular(hull: Points, start: Points, end: Points) -> float:
    """The longest chord of a convex polygon that is perpendicular to one of its diameters.

    A chord's length changes linearly between corners, so that the longest one ends in a corner.
    """
    along = (end - start) / np.linalg.norm(end - start)
    place = (hull - start) @ along
    height = (hull - start) @ np.array([-along[1], along[0]])
    order = np.argsort(place)
    ends = np.isin(place, (place.min(), place.max()))
    sides = []
    for side in (height >= 0, height <= 0):
        kept = order[(side | ends)[order]]
        sides.append(np.interp(place, place[kept], height[kept]))
    return float(np.max(sides[0] - sides[1]))
