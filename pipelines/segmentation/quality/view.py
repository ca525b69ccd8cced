"""A coarse view of a case, on which checks are quick: images, brain, depth below its surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ....data.brats.checks import voxel_sizes
from ....data.brats.nifti import Volume
from ....data.brats.normalization import find_brain

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COARSE_MM = 2.0  # every voxel of larger ones, every second of 1 mm
SURFACE_MM = 4.0  # from here inwards no voxel is partly air, or left over from the skull


@dataclass(frozen=True, eq=False)
class View:
    """Every n-th voxel of a case around its brain, arrays (X, Y, Z) along RAS+ axes.

    The brain lies on a border of the arrays only where the field of view ends there.

    Attributes:
        images: intensities by sequence.
        brain: where any image is not 0, without specks and with its holes.
        voxel_mm: distance of neighbors along the axes.
    """

    images: Mapping[str, Array]
    brain: Mask
    voxel_mm: NDArray[np.float64]

    @property
    def voxel_ml(self) -> float:
        """Volume that one of these voxels stands for, in milliliters."""
        return float(self.voxel_mm.prod()) / 1000

    @property
    def brain_ml(self) -> float:
        """Volume of what is not 0, in milliliters."""
        return float(self.brain.sum()) * self.voxel_ml

    @cached_property
    def depth_mm(self) -> Array:
        """Distance to the surface of the brain, holes filled; the field of view is no surface."""
        filled = self.brain.copy()
        for axis in range(3):  # holes that the field of view opens are holes
            for end in (0, -1):
                plane = np.moveaxis(filled, axis, 0)[end]
                plane[:] = ndimage.binary_fill_holes(plane)
        filled = ndimage.binary_fill_holes(filled)
        return np.asarray(
            ndimage.distance_transform_edt(filled, sampling=self.voxel_mm.tolist()), np.float32
        )

    @cached_property
    def inner(self) -> Mask:
        """The brain without its surface; all of it where it is thinner than that."""
        inner = self.brain & (self.depth_mm > SURFACE_MM)
        return inner if inner.any() else self.brain

    def values(self, sequence: str) -> Array:
        """Intensities of a sequence in the inner brain, (voxels,)."""
        return self.images[sequence][self.inner]


def coarse_view(volume: Volume) -> View:
    """Take every n-th voxel of a volume."""
    sizes = voxel_sizes(volume.affine)
    steps = np.maximum(1, np.rint(COARSE_MM / sizes)).astype(int)
    every = tuple(slice(None, None, int(step)) for step in steps)
    images = {name: image[every] for name, image in volume.images.items()}
    brain, _ = find_brain(np.any([image != 0 for image in images.values()], axis=0))
    places = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(max(place[0] - 1, 0), place[-1] + 2) for place in places)
    return View({name: image[box] for name, image in images.items()}, brain[box], sizes * steps)
