"""One synthetic case and its files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..files import read_json, whole_folder
from .anatomy import draw_anatomy
from .compartments import draw_compartments
from .grid import Grid, output_grid
from .physics import PROTOCOL
from .scanner import USUAL, Scanner, scan
from .tumor import ED, ET, NCR, draw_kind, draw_plan, grow_tumor

GENERATOR_VERSION = 1  # raise it whenever the same seed gives other bytes
PARTS = (*PROTOCOL, "seg")
LABELS = {"NCR": NCR, "ED": ED, "ET": ET}

Record = dict[str, Any]
Voxels = NDArray[np.int16 | np.uint8]


def case_name(index: int) -> str:
    """Name of the folder and the prefix of the files of a case."""
    return f"Phantom_{index:05d}"


def make_case(
    seed: int,
    index: int,
    spacing: float,
    *,
    aligned: bool = False,
    size: float = 1.0,
    scanner: Scanner = USUAL,
) -> tuple[dict[str, Voxels], Record]:
    """Simulate one case.

    Args:
        seed: of the whole set, not negative.
        index: of the case, not negative.
        spacing: voxel edge in mm, 1 to 4.
        aligned: leave out what registration leaves over, the small motions between sequences.
        size: of the tumor, as a multiple of what was drawn: the same patient at another date.
        scanner: that makes the images.

    Returns:
        The images (int16) and the labels "seg" (uint8), each of shape
        `output_grid(spacing).shape`, and the parameters that were drawn.
    """
    grid = output_grid(spacing)
    inner, place = grid.window()
    # One stream per stage: a change in one leaves what the others draw.
    anatomy_rng, tumor_rng, tissue_rng, scan_rng = (
        np.random.default_rng([seed, index, stage]) for stage in range(4)
    )
    anatomy = draw_anatomy(anatomy_rng, inner)
    plan = draw_plan(tumor_rng, draw_kind(seed, index))
    tumor = grow_tumor(tumor_rng, anatomy, plan, size)
    parts = draw_compartments(tissue_rng, anatomy, tumor)
    arrays = {
        **scan(scan_rng, anatomy, parts, aligned=aligned, scanner=scanner),
        "seg": tumor.labels,
    }
    volumes = {
        name: round(float(np.count_nonzero(tumor.labels == label)) * spacing**3 / 1000, 3)
        for name, label in LABELS.items()
    }
    drawn = {key: v if isinstance(v, str) else round(v, 3) for key, v in asdict(plan).items()}
    record: Record = {"name": case_name(index), **drawn, "volumes_ml": volumes}
    return {part: _in_frame(array, grid, place) for part, array in arrays.items()}, record


def _in_frame(array: Voxels, grid: Grid, place: tuple[slice, slice, slice]) -> Voxels:
    """The array of the inner window in the whole frame, zeros around it."""
    frame = np.zeros(grid.shape, array.dtype)
    frame[place] = array
    return frame


def nifti_bytes(array: Voxels, affine: NDArray[np.float64]) -> bytes:
    """A .nii.gz file as bytes: no time stamp, so that equal arrays give equal bytes."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"cggm phantom: synthetic, no patient"
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=5, mtime=0) as file:
        file.write(image.to_bytes())
    return packed.getvalue()


def write_case(folder: Path, seed: int, index: int, spacing: float) -> Record:
    """Make a case and put it into `folder`, whole or not at all.

    If another process was faster, its case stays: the bytes are the same.

    Returns:
        The parameters of the case with size in bytes and sha256 of each file.

    Raises:
        InputError: the folder cannot be written.
    """
    name = case_name(index)
    # The matrix products are small: threads of BLAS would wait for each other and double the time.
    with threadpool_limits(1):
        arrays, record = make_case(seed, index, spacing)
    affine = output_grid(spacing).affine()
    contents = {f"{name}_{part}.nii.gz": nifti_bytes(arrays[part], affine) for part in PARTS}
    record["files"] = {
        file: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for file, content in contents.items()
    }

    def is_damaged(_: Path) -> bool:
        return read_record(folder, seed, index, spacing) is None

    with whole_folder(folder / name, replace=is_damaged) as place:
        for file, content in contents.items():
            (place / file).write_bytes(content)
        made = {"generator": GENERATOR_VERSION, "seed": seed, "spacing": spacing, **record}
        (place / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")
    return record


def read_record(folder: Path, seed: int, index: int, spacing: float) -> Record | None:
    """Record of a case that is finished and whole (by the sizes of its files), else None."""
    path = folder / case_name(index) / f"{case_name(index)}.json"
    try:
        record = read_json(path)
        made = [record.pop(key) for key in ("generator", "seed", "spacing")]
        whole = files_complete(path.parent, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole and made == [GENERATOR_VERSION, seed, spacing] else None


def files_complete(case: Path, record: Record) -> bool:
    """Whether every file of the record is there with its size."""
    try:
        return all(
            (case / file).stat().st_size == about["bytes"]
            for file, about in record["files"].items()
        )
    except FileNotFoundError:
        return False
