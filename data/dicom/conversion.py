"""Stacks of DICOM slices as NIfTI files, and a folder of them for each case."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray

from ..errors import InputError
from ..files import read_json, whole_folder, write_json
from .headers import functional_value
from .series import Series, without_names
from .stacks import Stack

FORMAT, VERSION = "cggm case of DICOM", 1  # raise it when the same series would give other files


def read_voxels(stack: Stack) -> NDArray[np.float32]:
    """Read the intensities of a stack, rescaled by slope and intercept: (columns, rows, slices).

    Raises:
        InputError: the pixels cannot be read; the message says why, and no more.
    """
    voxels = np.empty(stack.shape, np.float32)
    files: dict[Path, list[int]] = {}
    for place, frame in enumerate(stack.frames):
        files.setdefault(frame.path, []).append(place)
    for path, places in files.items():
        try:
            dataset = pydicom.dcmread(path, force=True)
            pixels = dataset.pixel_array
            pixels = pixels.reshape(-1, *pixels.shape[-2:])
            for place in places:
                number = stack.frames[place].number
                slope = functional_value(dataset, number, "RescaleSlope")
                intercept = functional_value(dataset, number, "RescaleIntercept")
                plane = pixels[number] * float(1 if slope is None else slope)
                voxels[:, :, place] = plane.T + float(intercept or 0)
        except Exception as error:  # decoders raise whatever they like
            raise InputError(
                f"the pixels of its slice {places[0] + 1} cannot be read "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
            ) from error
    return voxels


def write_stack(stack: Stack, path: Path) -> None:
    """Write a stack as NIfTI, without a text that could tell the patient."""
    image = nib.Nifti1Image(read_voxels(stack), stack.affine)
    image.set_sform(stack.affine, 1)
    image.set_qform(stack.affine, 1)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def convert_case(case: str, series: Sequence[Series], output: Path) -> bool:
    """Write `<case>/<case>_<sequence>.nii.gz` of the series in use, whole or not at all.

    A series whose pixels cannot be read gets a `problem` and stops no other.

    Returns:
        False when the folder is there already, made of the same slices.

    Raises:
        InputError: no series can be read, or the folder cannot be written.
    """
    target = output / case
    used = sorted((one for one in series if one.use == "yes"), key=lambda one: one.sequence)
    about = {one.sequence: _about(one) for one in used}
    if _is_ours(target) and _sequences(target) == about:
        return False
    with whole_folder(target, replace=_is_ours) as folder:
        for one in used:
            _write(one, folder / f"{case}_{one.sequence}.nii.gz")
        written = [one.sequence for one in used if not one.problem]
        if not written:
            raise InputError("; ".join(f"{one.where}: {one.problem}" for one in used))
        record = {
            "format": FORMAT,
            "version": VERSION,
            "case": case,
            "day": used[0].day,
            "sequences": {name: about[name] for name in written},
            "versions": {name: version(name) for name in ("cggm", "pydicom", "nibabel")},
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        write_json(folder / f"{case}.json", record)
    return True


def _write(one: Series, path: Path) -> None:
    assert one.stack is not None
    try:
        write_stack(one.stack, path)
    except InputError as error:
        one.problem = str(error)
        one.reason = f"cannot be used: {one.problem}"


def slices_digest(series: Series) -> str:
    """Ten hexadecimal digits that stand for the very slices of a series."""
    names = sorted(f"{frame.instance} {frame.number}" for frame in series.frames)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:10]


def _about(one: Series) -> dict[str, Any]:
    assert one.stack is not None
    return {
        "series": one.name,
        "slices": slices_digest(one),
        "number": one.header.number,
        "description": without_names(one.header.description, one.header),
        "shape": list(one.stack.shape),
        "voxel_mm": list(one.stack.voxel_mm),
        "thickness_mm": one.header.thickness,
        "plane": one.stack.plane,
    }


def _sequences(target: Path) -> Any:
    """What a finished case was made of; None where there is none, or of an earlier version."""
    try:
        record = read_json(target / f"{target.name}.json")
        files = [target / f"{target.name}_{name}.nii.gz" for name in record["sequences"]]
        same = (record["format"], record["version"]) == (FORMAT, VERSION)
        return record["sequences"] if same and all(file.is_file() for file in files) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_ours(target: Path) -> bool:
    """Whether a folder may be replaced: an earlier conversion, never anything else."""
    if target.is_dir() and any(target.iterdir()) and _format(target) != FORMAT:
        raise InputError(
            f"{target} holds other files; choose another output folder, not the one with the data"
        )
    return True


def _format(target: Path) -> str:
    try:
        return read_json(target / f"{target.name}.json")["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
