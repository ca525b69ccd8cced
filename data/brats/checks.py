"""What is wrong with a case: its files, the grids of its images, the voxels in them?

Each check knows the fault, says it in one sentence and gives the remedy; reading is in `nifti.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..errors import InputError

MAX_AXIS = 4096  # voxels along one axis
MAX_VOXELS = 2**31
TOLERANCE = 1e-3  # mm at the corners: files of one case often differ by rounding, about 1e-8

_CASE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


def case_problems(
    name: str,
    files: Mapping[str, Sequence[Path]],
    *,
    expected: Mapping[str, str],
    demanded: Sequence[str],
    strays: Mapping[Path, Sequence[str]],
) -> list[str]:
    """Say everything that is wrong with the files of one case, one sentence each.

    Args:
        name: case ID.
        files: the files found for each sequence and for "label".
        expected: the published file name of each sequence that is wanted, and of "label".
        demanded: the sequences, and "label", without which the case is refused.
        strays: per folder, the NIfTI files that belong to no case.
    """
    anywhere = [path for paths in files.values() for path in paths]
    if not _CASE_NAME.fullmatch(name) or not name.strip("."):
        found = f" ({anywhere[0]})" if anywhere else ""
        return [
            f"case {name!r}{found} has no usable ID; expected 1 to 128 letters A-Z, digits, dots, "
            "dashes or underscores: rename its files"
        ]
    problems = [
        f"case {name}: {len(paths)} files for {key}: {' and '.join(map(str, paths))}; expected "
        "one: remove or rename the others"
        for key, paths in files.items()
        if len(paths) > 1
    ]
    if len({tuple(paths) for paths in files.values()}) < len(files):
        problems = problems[:1]  # one 4D file stands for several sequences
    if not files.keys() - {"label"}:
        return [*problems, f"case {name}: no file for any of {', '.join(_sequences(expected))}"]
    folder = anywhere[0].parent
    return problems + [
        f"case {name}: no file for {key} (tried {expected[key]}, also without .gz, in {folder})"
        + _remedy(key, strays.get(folder, ()))
        for key in demanded
        if key not in files
    ]


def problem_report(subject: str, problems: Sequence[str]) -> str:
    """Join problems to one message: a single one as it is, else a headline and ten of them."""
    if len(problems) == 1:
        return problems[0]
    shown = "\n".join(f"  {problem}" for problem in problems[:10])
    rest = f"\n  … and {len(problems) - 10} more" if len(problems) > 10 else ""
    return f"{len(problems)} problems in {subject}:\n{shown}{rest}"


def check_content(head: bytes, path: Path, where: str) -> None:
    """Say what a file is when its first bytes show that it is no NIfTI file of this name."""
    text = head.lstrip().lower()
    zipped, named_zipped = head.startswith(b"\x1f\x8b"), path.name.endswith(".gz")
    plain = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")} & {348, 540}
    fault = None
    if not head:
        fault = "is empty (0 bytes): copy or download it again"
    elif head.startswith(b"version https://git-lfs"):
        fault = "is a Git LFS pointer, not the image: run git lfs pull"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml")):
        fault = "is a web page (HTML), not an image: log in and download it again"
    elif zipped and not named_zipped:
        fault = "is gzip although its name does not end in .gz: rename it to .nii.gz"
    elif named_zipped and not zipped:
        what = "rename it to .nii, which it is" if plain else "is it an image at all?"
        fault = f"is not gzip although its name ends in .gz: {what}"
    if fault:
        raise InputError(f"{where} {fault}")


def check_shape(shape: Sequence[int], where: str) -> None:
    """Refuse dimensions that no image of a head has, before memory is set aside for them."""
    count = int(np.prod([max(int(size), 0) for size in shape], dtype=object))
    if any(size < 1 for size in shape):
        raise InputError(f"{where} has the shape {tuple(shape)} in its header; it is damaged")
    if max(shape, default=0) > MAX_AXIS or count > MAX_VOXELS:
        raise InputError(
            f"{where} has the shape {tuple(shape)} in its header; expected at most {MAX_AXIS} "
            f"voxels along an axis and {MAX_VOXELS} in all: the header is damaged"
        )
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


def best_affine(header: nib.Nifti1Header, where: str) -> np.ndarray:
    """Affine (4, 4) in mm; refused when it gives no positions: NaN, or axes that coincide."""
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise InputError(
            f"{where} has an unusable qform ({error}); write its geometry again"
        ) from error
    if not np.isfinite(affine).all():
        raise InputError(f"{where} has NaN or infinity in its affine; write its geometry again")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        sizes = " x ".join(f"{length:.3g}" for length in lengths)
        raise InputError(
            f"{where} has a singular affine (voxels of {sizes} mm whose axes do not span a "
            "volume); write its geometry again"
        )
    return affine


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


def check_same_grid(
    first: tuple[str, tuple[int, ...], np.ndarray], other: tuple[str, tuple[int, ...], np.ndarray]
) -> None:
    """Refuse two images of one case that do not lie on the same grid.

    Args:
        first: case and file, shape, affine (4, 4) in mm.
        other: the same of the image compared with it.

    Both must have the same axes (RAS+), so that files stored in another order still agree.
    """
    (where, shape, affine), (other_where, other_shape, other_affine) = first, other
    if shape != other_shape:
        raise InputError(
            f"{other_where} has {_sizes(other_shape)} voxels, but {where} has {_sizes(shape)} "
            "(along right, anterior, superior); expected one grid: resample the one to the other"
        )
    distance = corner_distance(shape, affine, other_affine)
    if distance > TOLERANCE:
        raise InputError(
            f"{other_where} lies {distance:.4g} mm away from {where} at a corner of the volume; "
            f"expected at most {TOLERANCE} mm: register and resample the one to the other"
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


def check_data_type(header: nib.Nifti1Header, where: str) -> np.dtype:
    """Refuse complex, color and unknown voxels; return the type otherwise."""
    try:
        dtype = header.get_data_dtype()
    except (KeyError, HeaderDataError) as error:
        code = int(header["datatype"])
        raise InputError(
            f"{where} has the unknown data type code {code}; is it damaged?"
        ) from error
    if dtype.kind not in "iufb":
        kind = "complex" if dtype.kind == "c" else "color (RGB)" if dtype.names else str(dtype)
        raise InputError(
            f"{where} holds {kind} voxels; expected one real number per voxel: export "
            "the magnitude image in gray levels"
        )
    return dtype


def data_offset(header: nib.Nifti1Header, where: str) -> int:
    """Byte at which the voxels begin; 0 stands for directly after the header."""
    smallest = header.sizeof_hdr + 4
    offset = float(header["vox_offset"])
    if offset == 0:
        return smallest
    if not smallest <= offset < 2**31:
        raise InputError(f"{where} has its voxels at byte {offset:g}; the header is damaged")
    return int(offset)


def scale_factors(header: nib.Nifti1Header, where: str) -> tuple[float, float] | None:
    """Slope and intercept from stored numbers to intensities; None when there is no scaling."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not (np.isfinite(slope) and np.isfinite(inter)):
        raise InputError(
            f"{where} has scl_slope {slope:g} and scl_inter {inter:g}, so its intensities are "
            "undefined; expected finite numbers: write it again with 1 and 0"
        )
    return None if slope == 0 or (slope, inter) == (1, 0) else (slope, inter)


def _sequences(expected: Mapping[str, str]) -> list[str]:
    return [key for key in expected if key != "label"]


# A label or another sequence is never the file that is missing.
_NAMED_BY_A_LAYOUT = re.compile(r"[_-](seg|flair|t1|t1ce|t2|t2f|t1n|t1c|t2w)\.nii(\.gz)?$")


def _remedy(key: str, strays: Sequence[str]) -> str:
    strays = [name for name in strays if not _NAMED_BY_A_LAYOUT.search(name)]
    if strays:
        return f"; that folder also holds {', '.join(strays[:3])}: rename it?"
    if key == "label":
        return ': add it, or use labels="ignored" if no label is needed'
    return ": add it; inference can do without (--allow_missing True)"


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: 1 case, 2 cases."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
