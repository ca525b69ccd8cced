"""Checks of a case: its headers, the grids of its images, the voxels in them.

Each check knows the fault, says it in one sentence and gives the remedy; reading is in `nifti.py`.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from ..errors import InputError
from ..foreign import foreign_content

_LOG = logging.getLogger(__name__)

MOST_ML = 2400.0  # of a brain with its liquor
TOLERANCE = 0.01  # of a voxel at the corners: programs round affines in the sixth digit

CUT_OFF = "is cut off, with fewer voxels than its header promises: copy or download it again"
_REGISTRATION = ", for example with cggm prepare"
_DEFLATE_LIMIT = 1100  # gzip cannot shrink further than 1032:1


class Grid(NamedTuple):
    """Where the voxels of an image lie: case and file, shape (X, Y, Z), affine (4, 4) in mm."""

    where: str
    shape: tuple[int, ...]
    affine: np.ndarray


def problem_report(subject: str, problems: Sequence[str]) -> str:
    """Join problems to one message: a single one as it is, else a headline and ten of them."""
    if len(problems) == 1:
        return problems[0]
    shown = "\n".join(f"  {problem}" for problem in problems[:10])
    rest = f"\n  … and {len(problems) - 10} more" if len(problems) > 10 else ""
    return f"{len(problems)} problems in {subject}:\n{shown}{rest}"


def named_gzip(path: Path) -> bool:
    """Whether a file is named as a gzip stream, in upper case too."""
    return path.name.lower().endswith(".gz")


def check_content(path: Path, where: str) -> None:
    """Say what a file is when its first bytes show that it is no NIfTI file of this name."""
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise InputError(f"{where} is no file")
    with path.open("rb") as file:
        head = file.read(512)
    zipped, named_zipped = head.startswith(b"\x1f\x8b"), named_gzip(path)
    plain = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")} & {348, 540}
    fault = foreign_content(head)
    if fault is None and zipped and not named_zipped:
        fault = "is gzip although its name does not end in .gz: rename it to .nii.gz"
    if fault is None and named_zipped and not zipped:
        what = "rename it to .nii, which it is" if plain else "is it an image at all?"
        fault = f"is not gzip although its name ends in .gz: {what}"
    if fault:
        raise InputError(f"{where} {fault}")


def check_gzip(path: Path) -> None:
    """Read a gzip stream to its end, where its checksum is; bytes behind it do not matter.

    Raises:
        EOFError: it ends too early.
        zlib.error: it is damaged, or its checksum is another one.
    """
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    with path.open("rb") as file:
        while not stream.eof:
            block = file.read(1 << 16)
            if not block:
                raise EOFError("the file ended before the end of the compressed stream")
            stream.decompress(block)


def check_header(header: nib.Nifti1Header, size: int, where: str, *, zipped: bool) -> None:
    """Refuse a header, as it is stored, that nibabel would repair or believe.

    Args:
        header: before any repair.
        size: bytes of the file.
        where: case and file for the error message.
        zipped: whether the file is compressed.
    """
    if bytes(header["magic"].item())[:3] not in (b"n+1", b"n+2"):
        raise InputError(
            f"{where} is half of an .hdr/.img pair or Analyze; expected one NIfTI file: convert it"
        )
    shape = tuple(int(side) for side in header.get_data_shape())
    check_shape(shape, where)
    promised = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    if promised > size * (_DEFLATE_LIMIT if zipped else 1):
        raise InputError(f"{where} {CUT_OFF} (it promises {promised} bytes for the shape {shape})")
    sides = header["pixdim"][1:4]
    if int(header["sform_code"]) == 0 and not sides.all():
        raise InputError(_singular(where, sides))


def check_shape(shape: Sequence[int], where: str) -> None:
    """Refuse dimensions that no volume has."""
    if any(size < 1 for size in shape):
        raise InputError(f"{where} has the shape {tuple(shape)} in its header; it is damaged")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise InputError(
            f"{where} is a single slice of shape {tuple(shape)}; expected a 3D volume: give the "
            "whole series"
        )


def check_volumes(volumes: int, expected: int | None, where: str) -> None:
    """Refuse a 4D file where one volume is expected, and a wrong number where several are.

    Args:
        volumes: number of volumes in the file.
        expected: number of volumes the layout promises; None for a 3D file.
        where: case and file for the error message.
    """
    if expected is None and volumes > 1:
        raise InputError(
            f"{where} is 4D and holds {volumes} volumes; expected one 3D volume: is this an MSD "
            'file (layout="msd"), or should one volume be extracted?'
        )
    if expected is not None and volumes != expected:
        raise InputError(
            f"{where} holds {plural(volumes, 'volume')}; expected {expected}, one per sequence: "
            "is this Task01_BrainTumour, and does dataset.json fit it?"
        )


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """Sizes of a voxel in mm along its axes, shape (3,), from an affine (4, 4)."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def check_affine(affine: np.ndarray, where: str) -> None:
    """Refuse an affine (4, 4) that gives no positions: NaN, or axes that coincide."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"{where} has NaN or infinity in its affine; write its geometry again")
    lengths = voxel_sizes(affine)
    if lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise InputError(_singular(where, lengths))


def _singular(where: str, lengths: np.ndarray) -> str:
    sizes = " x ".join(f"{length:.3g}" for length in lengths)
    return (
        f"{where} has a singular affine (voxels of {sizes} mm whose axes do not span a "
        "volume); write its geometry again"
    )


def check_image(image: np.ndarray, where: str) -> None:
    """Refuse an image (X, Y, Z) whose voxels or background no network can use."""
    check_voxels(image, where)
    check_background(image, where)


def check_voxels(image: np.ndarray, where: str) -> None:
    """Refuse NaN, infinity and images that are the same everywhere (float32, any shape)."""
    low, high = image.min(), image.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(image.size - np.isfinite(image).sum())
        raise InputError(
            f"{where}: {count} of {image.size} voxels are NaN or infinite; expected finite "
            "numbers: set them to 0 where they lie outside the brain"
        )
    if low == high:
        what = "only zeros" if low == 0 else f"the same value {low:g} everywhere"
        raise InputError(f"{where} holds {what}; expected an image: export it again")


def check_background(image: np.ndarray, where: str) -> None:
    """Refuse an image whose background is not 0, as when the skull is still there.

    The twelve edges of the volume tell: no brain lies there, even in a tight crop or a slab. A few
    stray voxels do no harm.

    Args:
        image: real numbers, shape (X, Y, Z).
        where: case and file for the error message.
    """
    ends = (0, -1)
    lines = [image[x, y] for x in ends for y in ends]
    lines += [image[x, :, z] for x in ends for z in ends]
    lines += [image[:, y, z] for y in ends for z in ends]
    edges = np.concatenate(lines)
    zeros = float((edges == 0).mean())
    if zeros >= 0.5:
        return
    values, counts = np.unique(edges, return_counts=True)
    if counts.max() >= 0.9 * edges.size:
        what = f"is {values[counts.argmax()]:g}, not 0"
        remedy = "set it to 0; intensities need not be normalized before"
    else:
        what = f"is not 0 (only {zeros:.0%} of the voxels along the edges of the volume are)"
        remedy = "remove the skull, for example with cggm prepare"
    raise InputError(
        f"{where}: the background {what}; expected a skull-stripped image that is exactly 0 "
        f"outside of the brain: {remedy}"
    )


def check_same_grid(first: Grid, other: Grid) -> None:
    """Refuse two images of one case that do not lie on the same grid.

    Both must have the same axes (RAS+), so that files stored in another order still agree.
    """
    if first.shape != other.shape:
        raise InputError(
            f"{other.where} has {_sizes(other.shape)} voxels, but {first.where} has "
            f"{_sizes(first.shape)} (along right, anterior, superior); expected one grid: resample "
            f"the one to the other{_REGISTRATION}"
        )
    distance = corner_distance(first.shape, first.affine, other.affine)
    allowed = TOLERANCE * float(voxel_sizes(first.affine).min())
    if distance > allowed:
        raise InputError(
            f"{other.where} lies {distance:.4g} mm away from {first.where} at a corner of the "
            f"volume; expected at most {allowed:.4g} mm, {TOLERANCE} of a voxel: register and "
            f"resample the one to the other{_REGISTRATION}"
        )


def corner_distance(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """Largest distance in mm between two affines over the eight corner voxels of a shape."""
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape))])
    shift = corners @ (affine - other).T
    return float(np.linalg.norm(shift[:, :3], axis=1).max())


def check_distinct(images: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse two sequences with identical voxels: one was copied over the other."""
    for key, other in combinations(images, 2):
        first, second = images[key], images[other]
        middle = first.shape[2] // 2  # one slice tells most pairs apart at almost no cost
        same = np.array_equal(first[..., middle], second[..., middle])
        if same and np.array_equal(first, second):
            raise InputError(
                f"{where}: {key} and {other} hold the same voxels; expected two different images: "
                "one of the files is a copy of the other"
            )


def tells_position(header: nib.Nifti1Header) -> bool:
    """Whether a header has an sform or a qform: without, it does not tell left from right."""
    return bool(header["sform_code"] or header["qform_code"])


def warn_of_position(header: nib.Nifti1Header, where: str) -> None:
    """Say that a header does not tell left from right."""
    if not tells_position(header):
        _LOG.warning(
            "%s does not say how the patient lies (sform and qform codes are 0): left and right "
            "may be swapped, and voxels of %s mm are believed",
            where,
            " x ".join(f"{side:.4g}" for side in header.get_zooms()[:3]),
        )


def warn_of_skull(images: Mapping[str, np.ndarray], voxel_ml: float, where: str) -> None:
    """Say that more is left in the images than a brain, as when only the air was set to 0."""
    inside = np.any([image != 0 for image in images.values()], axis=0)
    if (ml := float(np.count_nonzero(inside)) * voxel_ml) > MOST_ML:
        _LOG.warning(
            "%s: %.0f ml are not 0, and a brain has less than %.0f: if the skull is still there, "
            "masks are wrong; cggm prepare removes it",
            where,
            ml,
            MOST_ML,
        )


def check_data_type(dtype: np.dtype, where: str) -> None:
    """Refuse complex and color voxels."""
    if dtype.kind not in "iufb":
        kind = "complex" if dtype.kind == "c" else "color (RGB)" if dtype.names else str(dtype)
        raise InputError(
            f"{where} holds {kind} voxels; expected one real number per voxel: export "
            "the magnitude image in gray levels"
        )


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: 1 case, 2 cases."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
