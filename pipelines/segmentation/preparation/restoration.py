"""Masks of prepared cases, brought back to the grids of the hospital's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ....data.brats.checks import Grid as FileGrid
from ....data.brats.checks import check_same_grid
from ....data.brats.conventions import as_integers
from ....data.brats.native_space import NativeSpace, write_labels
from ....data.brats.nifti import read_nifti
from ....data.errors import InputError
from .images import LPS, Grid, labels_on
from .record import read_record


def restored_labels(
    labels: NDArray[np.uint8], record: Mapping[str, Any], sequence: str
) -> tuple[NDArray[np.uint8], NativeSpace]:
    """Bring a mask of a prepared case back to the grid of one of its sequences.

    No value arises that was not there: see :func:`.labels_on`.

    Args:
        labels: codes of any convention, 0 is background, (X, Y, Z) on the prepared grid.
        record: of the case, from :func:`.read_record`.
        sequence: one of the record.

    Returns:
        The mask (X, Y, Z) along RAS+ axes, and the geometry of the sequence's file, for
        :func:`.write_labels`.

    Raises:
        ValueError: the labels do not fit the record.
    """
    about, grid = record["sequences"][sequence], record["grid"]
    if list(labels.shape) != grid["shape"]:
        raise ValueError(f"a mask of shape {labels.shape} does not fit {grid['shape']}")
    native = NativeSpace.from_description(about["native"])
    target = _ras_grid(native)
    back = _transform(np.linalg.inv(np.array(about["reference_to_sequence_ras_mm"])))
    restored = labels_on(labels, np.array(grid["affine"]), target, back)
    return restored.astype(np.uint8), native


def restore_mask(
    mask: Path, prepared: Path, output: Path, sequences: Sequence[str] | None = None
) -> list[Path]:
    """Write a mask on the grid of each sequence of a prepared case.

    Args:
        mask: a NIfTI file on the grid of the prepared images.
        prepared: folder of the case.
        output: gets ``<case>_<sequence>_mask.nii.gz``.
        sequences: those wanted; None takes all of the case.

    Raises:
        InputError: the mask does not lie on the prepared images, or cannot be read.
    """
    record = read_record(prepared)
    where = f"case {record['case']}: {mask}"
    file = read_nifti(mask, where).volume(None, None)
    grid = record["grid"]
    there = FileGrid(str(prepared), tuple(grid["shape"]), np.array(grid["affine"]))
    check_same_grid(there, file.grid)
    labels = as_integers(file.voxels, where).astype(np.uint8)
    written = []
    for sequence in record["sequences"] if sequences is None else sequences:
        if sequence not in record["sequences"]:
            continue
        restored, native = restored_labels(labels, record, sequence)
        path = output / f"{record['case']}_{sequence}_mask.nii.gz"
        write_labels(restored, native, path)
        written.append(path)
    return written


def find_mask(folder: Path, case: str) -> Path:
    """Find the mask of a case: as `cggm infer` or `cggm segment` writes it, or ``<case>_seg``.

    Raises:
        InputError: there is none.
    """
    places = [folder / "masks", folder, folder / case]
    for place in places:
        for name in (case, f"{case}_seg", f"{case}-seg", f"{case}_mask"):
            for ending in (".nii.gz", ".nii"):
                if (place / f"{name}{ending}").is_file():
                    return place / f"{name}{ending}"
    raise InputError(f"case {case}: no mask in {folder}; expected {case}.nii.gz")


def _ras_grid(native: NativeSpace) -> Grid:
    """The grid of a file along RAS+ axes."""
    blank = nib.Nifti1Image(np.broadcast_to(np.uint8(0), native.shape[:3]), native.affine)
    turned = nib.as_closest_canonical(blank)
    return Grid(tuple(turned.shape), np.asarray(turned.affine))


def _transform(ras: NDArray[np.float64]) -> sitk.Transform:
    """A transform of RAS mm (4, 4) as one of LPS mm."""
    lps = LPS @ ras @ LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform
