"""The small images of a case that its page shows: sequences and mask on one grid."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ....data.brats.conventions import ALL_REGIONS
from ....data.errors import InputError
from ..output_folder import VIEW

Bytes = NDArray[np.uint8]

MASK = "mask"
_SHOWN_ON = {  # where a region is seen best, the best first
    "WT": ("flair", "t2", "t1ce", "t1"),
    "TC": ("t1ce", "t1", "t2", "flair"),
    "ET": ("t1ce", "t1", "t2", "flair"),
    "RC": ("flair", "t1ce", "t1", "t2"),  # dark, but for the last
}


@dataclass(frozen=True, eq=False)
class View:
    """Sequences and mask of a case along RAS+ axes.

    Attributes:
        images: sequence to gray values 1 to 255, 0 outside the brain, shape (X, Y, Z).
        mask: classes 0 background, 1 NCR, 2 ED, 3 ET, 4 RC, same shape.
        affine: voxel to mm in RAS+, shape (4, 4).
    """

    images: Mapping[str, Bytes]
    mask: Bytes
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel along X, Y and Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    def region(self, name: str) -> NDArray[np.bool_]:
        """Where a region is, shape (X, Y, Z)."""
        return np.isin(self.mask, ALL_REGIONS[name])

    def sequence_for(self, region: str) -> str:
        """The sequence that shows a region best, of those that there are."""
        return next((s for s in _SHOWN_ON[region] if s in self.images), next(iter(self.images)))

    def place_of(self, region: str) -> tuple[int, int, int]:
        """The slice along each axis that has most of a predicted region.

        The middle of the brain where the region is empty; nothing but the prediction decides.
        """
        inside = self.region(region)
        if not inside.any():
            x, y, z = (int(np.median(axis)) for axis in np.nonzero(self._brain()))
            return x, y, z
        x, y, z = (int(inside.sum(other).argmax()) for other in ((1, 2), (0, 2), (0, 1)))
        return x, y, z

    def thinned(self, step: int) -> View:
        """Every `step`-th voxel along each axis."""
        affine = self.affine.copy()
        affine[:3, :3] *= step
        part = (slice(None, None, step),) * 3
        images = {name: image[part] for name, image in self.images.items()}
        return View(images, self.mask[part], affine)

    def _brain(self) -> NDArray[np.bool_]:
        brain = np.any([image > 0 for image in self.images.values()], axis=0)
        return brain if brain.any() else np.ones_like(brain)


def read_view(folder: Path, sequences: Sequence[str]) -> View:
    """Read what ``cggm segment`` left for the page, ``<case>/view``.

    Args:
        folder: of the case.
        sequences: those of its record, in this order.

    Raises:
        InputError: a file is missing or damaged, or they are not on one grid.
    """
    if not sequences:
        raise InputError(f"the record of {folder.name} names no sequence: segment the case again")
    mask, affine = _read(folder / VIEW / f"{MASK}.nii.gz")
    images: dict[str, Bytes] = {}
    for name in sequences:
        path = folder / VIEW / f"{name}.nii.gz"
        images[name], own = _read(path)
        if images[name].shape != mask.shape or not np.allclose(own, affine, atol=1e-3):
            raise InputError(
                f"{path} and {MASK}.nii.gz beside it are not on one grid: segment the case again"
            )
    return View(images, mask, affine)


def _read(path: Path) -> tuple[Bytes, NDArray[np.float64]]:
    try:
        image = nib.as_closest_canonical(nib.load(path))
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise InputError(
            f"{path} cannot be read ({error or type(error).__name__}): segment the case again"
        ) from error
    if values.ndim != 3 or not values.size:
        raise InputError(f"{path} has the shape {values.shape}; expected one volume")
    return np.clip(np.rint(values), 0, 255).astype(np.uint8), np.asarray(image.affine, float)
