"""The small copies of a case that its page shows: sequences and mask, cropped to the brain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ....data.brats.normalization import brain_and_box
from ..output_folder import VIEW

MARGIN = 4  # voxels around the brain


def write_view(
    folder: Path,
    images: Mapping[str, NDArray[np.float32]],
    classes: NDArray[np.uint8],
    affine: NDArray[np.float64],
) -> None:
    """Write ``view/<sequence>.nii.gz`` and ``view/mask.nii.gz``, uint8 along RAS+ axes.

    Intensities between the 1st and the 99th percentile of the brain become 1 to 255; 0 is outside.

    Args:
        folder: of the case.
        images: by sequence, 0 outside the brain, shape (X, Y, Z).
        classes: 0 to 3, likewise.
        affine: voxel of these to mm in RAS+, (4, 4).
    """
    _, box = brain_and_box(images)
    low = np.maximum([side.start - MARGIN for side in box], 0)
    x, y, z = (slice(a, side.stop + MARGIN) for a, side in zip(low.tolist(), box, strict=True))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    (folder / VIEW).mkdir(exist_ok=True)
    parts = {name: gray_levels(image[x, y, z]) for name, image in images.items()}
    for name, part in {**parts, "mask": classes[x, y, z]}.items():
        image = nib.Nifti1Image(part, moved)
        image.header.set_xyzt_units("mm")
        nib.save(image, folder / VIEW / f"{name}.nii.gz")


def gray_levels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale an image to 1 to 255 where it is not 0, uint8 of the same shape."""
    brain = image != 0
    low, high = np.percentile(image[brain], (1, 99)) if brain.any() else (0.0, 1.0)
    scaled = 1 + 254 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.where(brain, np.rint(scaled), 0).astype(np.uint8)
