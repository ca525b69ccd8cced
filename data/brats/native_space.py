"""The geometry of an input file, and labels that lie exactly on it."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from ..errors import InputError
from ..files import write_atomically

_RAS = np.array([[0, 1], [1, 1], [2, 1]])


@dataclass(frozen=True, eq=False)
class NativeSpace:
    """The geometry of an input, as far as a mask needs it to lie on that input exactly.

    Attributes:
        shape: voxels along the input's own axes, trailing axes of length 1 included.
        affine: (4, 4), voxel of the input to mm in RAS+.
        header: its header.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    header: nib.Nifti1Header

    def restored(self, array: np.ndarray) -> np.ndarray:
        """Turn an array (X, Y, Z) along RAS+ axes back to the input's own axes and shape.

        Raises:
            ValueError: it does not fit the input.
        """
        turned = apply_orientation(array, ornt_transform(_RAS, io_orientation(self.affine)))
        if turned.shape != self.shape[:3]:
            raise ValueError(f"a mask of shape {array.shape} does not fit the file's {self.shape}")
        return turned.reshape(self.shape)

    def described(self) -> dict[str, Any]:
        """Plain values from which `from_description` makes it again; no text of the header."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.tolist(),
            "header": base64.b64encode(_mask_header(self.header).binaryblock).decode(),
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any]) -> NativeSpace:
        """Make it again.

        Raises:
            ValueError: these are not its plain values; KeyError and TypeError likewise.
        """
        block = base64.b64decode(about["header"], validate=True)
        kinds = {kind.sizeof_hdr: kind for kind in (nib.Nifti1Header, nib.Nifti2Header)}
        if len(block) not in kinds:
            raise ValueError(f"a header has {len(block)} bytes")
        header = kinds[len(block)](block, check=False)
        return cls(tuple(about["shape"]), np.array(about["affine"], np.float64), header)


def write_labels(values: np.ndarray, native: NativeSpace, path: str | Path) -> None:
    """Write labels (uint8) on an input file's axes, shape, affine and units, exactly.

    The file appears whole or not at all, without the header's texts: they may name a patient.

    Args:
        values: uint8 (X, Y, Z) along RAS+ axes, of any codes.
        native: geometry of the input.
        path: ends in `.nii` or `.nii.gz`; folders that do not exist are made.

    Raises:
        InputError: the file cannot be written.
        ValueError: the labels do not fit the input's shape.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path} has no NIfTI name; expected one that ends in .nii or .nii.gz")
    header = _mask_header(native.header)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    content = kind(native.restored(values), native.affine, header).to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)  # same mask, same bytes
    write_atomically(path, lambda file: file.write(content))


def _mask_header(native: nib.Nifti1Header) -> nib.Nifti1Header:
    header = native.copy()
    header.extensions.clear()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    for text in {"descrip", "aux_file", "db_name"} & set(header.keys()):
        header[text] = b""
    return header
