"""How does a NIfTI file become arrays, and how does a mask become a NIfTI file again?

Reading trusts nothing: the header is checked before memory is set aside, the file is read to its
end so that the checksum of gzip is verified, and every fault is an `InputError` that names case
and file. Images are turned to RAS+ axes (right, anterior, superior); `NativeSpace` remembers the
file's own geometry bit by bit, so that a mask goes back exactly.

Geometry: the sform is used when its code is set, else the qform. A file with neither code gives
only voxel sizes; it is accepted when these are positive, with the axes that nibabel and MONAI
assume (left, anterior, superior), because a mask is written in the file's own axes in any case.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from ..errors import InputError
from ..files import write_atomically
from . import checks
from .cases import Case, Source
from .conventions import label_convention_named

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_DEFLATE_LIMIT = 1100  # gzip cannot shrink further than 1032:1
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class NativeSpace:
    """The geometry of an input file, as far as a mask needs it to lie on that file exactly.

    Attributes:
        shape: voxels along the file's own axes, trailing axes of length 1 included.
        affine: (4, 4), file voxel to mm in RAS+.
        sform_code: as in the header.
        qform_code: as in the header.
        orientation: (3, 2), nibabel's orientation of the file's axes relative to RAS+.
        header: the file's header.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    sform_code: int
    qform_code: int
    orientation: np.ndarray
    header: nib.Nifti1Header


@dataclass(eq=False)
class Volume:
    """One case in memory, all arrays (X, Y, Z) along RAS+ axes, in any memory order.

    Attributes:
        name: case ID.
        images: float32 arrays keyed by sequence, intensities as scaled by the header.
        label: uint8 classes 0 to 3, or None.
        affine: (4, 4), voxel of these arrays to mm in RAS+.
        native: geometry of the first image's file.
    """

    name: str
    images: dict[str, np.ndarray]
    label: np.ndarray | None
    affine: np.ndarray
    native: NativeSpace


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A file that was read and whose header makes sense.

    Attributes:
        where: case and file, for error messages.
        header: its header.
        voxels: (X, Y, Z, volumes) along the file's own axes, not scaled, in the file's data type.
        affine: (4, 4), file voxel to mm in RAS+.
        scale: slope and intercept that turn voxels into intensities; None if there are none.
    """

    where: str
    header: nib.Nifti1Header
    voxels: np.ndarray
    affine: np.ndarray
    scale: tuple[float, float] | None

    def volume(self, channel: int | None, channels: int | None) -> np.ndarray:
        """Give one volume (X, Y, Z) along RAS+ axes, not scaled, without copying it."""
        checks.check_volumes(self.voxels.shape[3], channels, self.where)
        chosen = self.voxels[..., channel or 0]
        return np.asarray(apply_orientation(chosen, io_orientation(self.affine)))

    def scaled(self, volume: np.ndarray) -> np.ndarray:
        """Turn voxels into intensities: a float32 copy."""
        with np.errstate(over="ignore", invalid="ignore"):  # the check for infinity comes after
            image = volume.astype(np.float32, order="K")
            if self.scale is not None:
                image *= np.float32(self.scale[0])
                image += np.float32(self.scale[1])
        return image

    def grid(self) -> tuple[str, tuple[int, ...], np.ndarray]:
        """Case and file, shape and affine of a volume once it is turned to RAS+ axes."""
        orientation = io_orientation(self.affine)
        shape = self.voxels.shape[:3]
        turned = tuple(shape[axis] for axis in orientation[:, 0].argsort())
        return self.where, turned, self.affine @ inv_ornt_aff(orientation, shape)

    def native(self) -> NativeSpace:
        """Geometry of one volume of the file."""
        shape = tuple(int(size) for size in self.header.get_data_shape())
        return NativeSpace(
            shape[:3] if self.voxels.shape[3] > 1 else shape,
            self.affine,
            sform_code=int(self.header["sform_code"]),
            qform_code=int(self.header["qform_code"]),
            orientation=io_orientation(self.affine),
            header=self.header,
        )


def read_nifti(path: Path, where: str) -> NiftiFile:
    """Read one `.nii` or `.nii.gz` file completely.

    Args:
        path: the file.
        where: what to call it in an error message, usually case and file.

    Raises:
        InputError: it cannot be read, is damaged, or holds no numbers on a grid.
    """
    size = 0
    try:
        with path.open("rb") as raw:
            size = path.stat().st_size
            head = raw.read(512)
            checks.check_content(head, path, where)
            raw.seek(0)
            if not path.name.endswith(".gz"):
                return _parse(raw, size, where)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse(stream, size * _DEFLATE_LIMIT, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{where} is a damaged or truncated gzip file of {size} bytes ({error}): copy or "
            "download it again"
        ) from error
    except OSError as error:
        remedy = "a broken link?" if isinstance(error, FileNotFoundError) else "is it yours?"
        raise InputError(f"{where} cannot be read ({error.strerror or error}); {remedy}") from error


def read_case(case: Case, sequences: Sequence[str]) -> Volume:
    """Read the images and the label of one case and check them against each other.

    Args:
        case: a case from `find_cases`.
        sequences: the sequences wanted; those that the case lacks are left out.

    Returns:
        The volume in RAS+ axes.

    Raises:
        InputError: a file is damaged, or the files of the case do not fit together.
    """
    wanted = [key for key in sequences if key in case.images]
    if not wanted:
        raise InputError(
            f"case {case.name}: none of {list(sequences)} is there; it has {list(case.images)}"
        )
    path = case.images[wanted[0]].path
    first = read_nifti(path, f"case {case.name}: {path}")
    images: dict[str, np.ndarray] = {}
    for key in wanted:
        source = case.images[key]
        same = source.path == path  # a 4D file serves several sequences
        file = first if same else read_nifti(source.path, f"case {case.name}: {source.path}")
        volume = file.volume(source.channel, source.channels)
        checks.check_same_grid(first.grid(), file.grid())
        images[key] = file.scaled(volume)
        checks.check_voxels(images[key], f"{file.where} ({key})")
    checks.check_distinct(images, f"case {case.name}")
    label = None if case.label is None else _read_label(case, case.label, first)
    return Volume(case.name, images, label, first.grid()[2], first.native())


def check_cases(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Read every file of every case; list (case name, problem). Never fails itself."""
    problems: list[tuple[str, str]] = []
    for case in cases:
        try:
            read_case(case, list(case.images))
        except InputError as error:
            problems.append((case.name, str(error)))
        except Exception as error:  # one odd file must not hide the state of the others
            problems.append((case.name, f"case {case.name}: {type(error).__name__}: {error}"))
    return problems


def write_mask(classes: np.ndarray, native: NativeSpace, path: str | Path, convention: str) -> None:
    """Write a mask (uint8) on the input file's axes, shape, affine, codes and units, exactly.

    The file appears whole or not at all, without the header's texts: they may name a patient.

    Args:
        classes: classes 0 to 3, uint8 (X, Y, Z) along RAS+ axes, as in `Volume`.
        native: geometry of the input, from `Volume.native`.
        path: ends in `.nii` or `.nii.gz`; folders that do not exist are made.
        convention: name of the label convention of the values in the file.

    Raises:
        InputError: the convention is unknown, or the file cannot be written.
        ValueError: the classes do not fit the input's shape.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path} has no NIfTI name; expected one that ends in .nii or .nii.gz")
    values = label_convention_named(convention).from_classes(classes)
    back = ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), native.orientation)
    values = np.asarray(apply_orientation(values, back))
    if values.shape != native.shape[:3]:
        raise ValueError(f"a mask of shape {classes.shape} does not fit the file's {native.shape}")
    header = _mask_header(native)
    content = header.binaryblock + bytes(4) + values.tobytes(order="F")
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)  # same mask, same bytes
    write_atomically(path, lambda file: file.write(content))


def _parse(stream: BinaryIO | gzip.GzipFile, limit: int, where: str) -> NiftiFile:
    """Read header and voxels from a stream that can hold at most `limit` bytes."""
    header = _read_header(stream, where)
    shape = tuple(int(size) for size in header.get_data_shape())
    checks.check_shape(shape, where)
    dtype = checks.check_data_type(header, where)
    scale = checks.scale_factors(header, where)
    affine = checks.best_affine(header, where)
    volumes = int(np.prod(shape[3:], dtype=np.int64))
    promised = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    offset = checks.data_offset(header, where)
    content = b""
    if offset + promised <= limit:
        stream.read(offset - header.sizeof_hdr)
        content = stream.read(promised)
        while stream.read(_CHUNK):  # gzip keeps its checksum at the end
            pass
    if len(content) < promised:
        found = f"{len(content)} bytes" if content else "far fewer"
        raise InputError(
            f"{where} is cut off: its header promises {promised} bytes for the shape {shape}, "
            f"found {found}: copy or download it again"
        )
    voxels = np.frombuffer(content, dtype).reshape((*shape[:3], volumes), order="F")
    return NiftiFile(where, header, voxels, affine, scale)


def _read_header(stream: BinaryIO | gzip.GzipFile, where: str) -> nib.Nifti1Header:
    block = stream.read(348)
    size = min((int.from_bytes(block[:4], order) for order in ("little", "big")), default=0)
    if size in _HEADERS:
        block += stream.read(size - len(block))
    if size not in _HEADERS or len(block) < size:
        raise InputError(f"{where} has no NIfTI header; expected a NIfTI-1 or NIfTI-2 file")
    header = _HEADERS[size](block, check=False)
    if bytes(header["magic"].item())[:3] not in (b"n+1", b"n+2"):
        raise InputError(
            f"{where} is half of an .hdr/.img pair or Analyze; expected one NIfTI file: convert it"
        )
    return header


def _read_label(case: Case, source: Source, first: NiftiFile) -> np.ndarray:
    if case.convention is None:
        raise InputError(f"case {case.name}: no label convention was chosen for {source.path}")
    file = read_nifti(source.path, f"case {case.name}: {source.path}")
    volume = file.volume(source.channel, source.channels)
    checks.check_same_grid(first.grid(), file.grid())
    values = volume if file.scale is None else file.scaled(volume)
    return label_convention_named(case.convention).to_classes(values, file.where)


def _mask_header(native: NativeSpace) -> nib.Nifti1Header:
    header = native.header.copy()
    header.set_data_shape(native.shape)
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = header.sizeof_hdr + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    for text in {"descrip", "aux_file", "db_name"} & set(header.keys()):
        header[text] = b""
    return header
