"""NIfTI files of a case as arrays along RAS+ axes, and masks that lie exactly on such a file.

nibabel reads, scales and turns to RAS+ (right, anterior, superior); `checks.py` says what cannot be
used, and every fault is an `InputError` that names case and file.

Geometry: the sform is used when its code is set, else the qform. A file with neither is accepted
with a warning and the axes that nibabel assumes: a mask is written in the file's own axes anyway.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ..errors import InputError
from . import checks
from .cases import Case, Source
from .conventions import CAVITY, label_convention_named
from .native_space import NativeSpace, write_labels


@dataclass(eq=False)
class Volume:
    """One case in memory, all arrays (X, Y, Z) along RAS+ axes, in any memory order.

    Attributes:
        name: case ID.
        images: float32 intensities keyed by sequence.
        label: uint8 classes 0 to 3, and 4 where the case has a class for the cavity; or None.
        affine: (4, 4), voxel of these arrays to mm in RAS+.
        native: geometry of the first image's file.
    """

    name: str
    images: dict[str, np.ndarray]
    label: np.ndarray | None
    affine: np.ndarray
    native: NativeSpace

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in milliliters."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000


@dataclass(frozen=True, eq=False)
class RasImage:
    """An image whose header makes sense, along RAS+ axes.

    Attributes:
        where: case and file, for error messages.
        voxels: (X, Y, Z, volumes) or (X, Y, Z), scaled by the header; in the file's data type
            where it scales nothing.
        affine: (4, 4), voxel of this array to mm in RAS+.
        native: geometry of one volume of the file.
    """

    where: str
    voxels: np.ndarray
    affine: np.ndarray
    native: NativeSpace

    def volume(self, channel: int | None, channels: int | None) -> RasImage:
        """Give one of `channels` volumes, shape (X, Y, Z), without copying it."""
        checks.check_volumes(self.voxels.shape[3], channels, self.where)
        return replace(self, voxels=self.voxels[..., channel or 0])

    @property
    def grid(self) -> checks.Grid:
        """Where the voxels lie."""
        return checks.Grid(self.where, self.voxels.shape[:3], self.affine)


def read_nifti(path: Path, where: str) -> RasImage:
    """Read one `.nii` or `.nii.gz` file completely.

    Raises:
        InputError: it cannot be read, is damaged, or holds no numbers on a grid; the sentence
            begins with `where`, usually case and file.
    """
    size = 0
    try:
        size = path.stat().st_size
        checks.check_content(path, where)
        if checks.named_gzip(path):
            checks.check_gzip(path)
        return _read(path, size, where)
    except InputError:
        raise
    except (EOFError, zlib.error) as error:
        raise InputError(
            f"{where} is a damaged or truncated gzip file of {size} bytes ({error}): copy or "
            "download it again"
        ) from error
    except (ImageFileError, WrapStructError) as error:
        raise InputError(
            f"{where} has no NIfTI header; expected a NIfTI-1 or NIfTI-2 file"
        ) from error
    except HeaderDataError as error:
        raise InputError(f"{where} has a damaged header ({error}): write it again") from error
    except OSError as error:
        remedy = "a broken link?" if isinstance(error, FileNotFoundError) else "is it yours?"
        raise InputError(f"{where} cannot be read ({error.strerror or error}); {remedy}") from error
    except ValueError as error:  # a name that no file has, such as one with a NUL
        raise InputError(f"{where} cannot be read ({error}); is its name right?") from error


def read_case(case: Case, sequences: Sequence[str]) -> Volume:
    """Read the images and the label of one case in RAS+ axes and check them against each other.

    Args:
        case: a case from `find_cases`.
        sequences: the sequences wanted; those that the case lacks are left out.

    Raises:
        InputError: a file is damaged, or the files of the case do not fit together.
    """
    return volume_of_images(case, read_images(case, sequences))


def read_images(case: Case, sequences: Sequence[str]) -> dict[str, RasImage]:
    """Read the images of one case, each on its own grid; arguments are those of `read_case`.

    Raises:
        InputError: a file is damaged, or none of the sequences is there.
    """
    present = [key for key in sequences if key in case.images]
    if not present:
        raise InputError(
            f"case {case.name}: none of {list(sequences)} is there; it has {list(case.images)}"
        )
    files: dict[Path, RasImage] = {}  # a 4D file serves several sequences
    images: dict[str, RasImage] = {}
    for key in present:
        source = case.images[key]
        if source.path not in files:
            files[source.path] = read_nifti(source.path, f"case {case.name}: {source.path}")
        images[key] = files[source.path].volume(source.channel, source.channels)
    return images


def volume_of_images(case: Case, images: Mapping[str, RasImage]) -> Volume:
    """Check the images of one case against each other, and read its label.

    Raises:
        InputError: they do not fit together, or no network can use them.
    """
    volume = _checked_volume(case.name, f"case {case.name}", images)
    first = next(iter(images.values()))
    checks.warn_of_position(volume.native.header, first.where)
    checks.warn_of_skull(volume.images, volume.voxel_ml, f"case {case.name}")
    if case.label is not None:
        volume.label = _read_label(case, case.label, first.grid)
    return volume


def volume_of_arrays(images: Mapping[str, np.ndarray], affine: np.ndarray) -> Volume:
    """Check arrays as the files of a case are checked, and turn them to RAS+ axes.

    Args:
        images: real intensities keyed by sequence, 0 outside the brain, all of shape (X, Y, Z).
        affine: (4, 4), voxel to mm in RAS+.

    Raises:
        InputError: an array is no image, or they do not fit together.
    """
    affine = np.asarray(affine, np.float64)
    checks.check_affine(affine, "the input")
    turned: dict[str, RasImage] = {}
    for key, image in images.items():
        array = np.asarray(image)
        checks.check_data_type(array.dtype, key)
        with np.errstate(over="ignore"):  # infinity is refused below
            array = array.astype(np.float32)
        turned[key] = _turned(nib.Nifti1Image(array, affine), key).volume(None, None)
    return _checked_volume("", "the images", turned)


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
        classes: classes 0 to 4, uint8 (X, Y, Z) along RAS+ axes, as in `Volume`.
        native: geometry of the input, from `Volume.native`.
        path: ends in `.nii` or `.nii.gz`; folders that do not exist are made.
        convention: name of the label convention of the values in the file.

    Raises:
        InputError: the convention is unknown or has no value for a class, or the file cannot be
            written.
        ValueError: the classes do not fit the input's shape.
    """
    write_labels(label_convention_named(convention).from_classes(classes), native, path)


def _read(path: Path, size: int, where: str) -> RasImage:
    """Read a file of `size` bytes with nibabel."""
    with _silent_nibabel():
        try:
            image = nib.load(path, mmap=False)
        except ValueError as error:
            image = _with_rounded_quaternion(path, error)
    if not isinstance(image, nib.Nifti1Image):
        raise ImageFileError(f"it is a {type(image).__name__}")
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        stored = image.header_class.from_fileobj(file, check=False)
    checks.check_header(stored, size, where, zipped=checks.named_gzip(path))
    try:
        with _silent_nibabel():
            return _turned(image, where)
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{where} {checks.CUT_OFF}") from error


class _RoundedHeader(nib.Nifti1Header):
    """A header whose quaternion may be longer than 1 by the rounding of several programs."""

    quaternion_threshold = np.float32(-1e-5)


class _RoundedImage(nib.Nifti1Image):
    header_class = _RoundedHeader


def _with_rounded_quaternion(path: Path, fault: ValueError) -> nib.Nifti1Image:
    """Read a file whose quaternion is a little too long for nibabel, and write it anew.

    Other programs read such files, and public data has them.

    Raises:
        HeaderDataError: this is not what is wrong, as with a quaternion of length 5.
    """
    try:
        image = _RoundedImage.from_filename(path, mmap=False)
    except (ValueError, ImageFileError):
        raise HeaderDataError(fault) from fault
    image.set_qform(image.affine, int(image.header["qform_code"]))
    return nib.Nifti1Image(image.dataobj, image.affine, image.header, file_map=image.file_map)


@contextmanager
def _silent_nibabel() -> Iterator[None]:
    """Let nibabel repair headers without a word: it would not say of which file."""
    logger, before = imageglobals.logger, imageglobals.logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _turned(image: nib.Nifti1Image, where: str) -> RasImage:
    """Check a header and turn the voxels to RAS+ axes."""
    shape = tuple(int(side) for side in image.shape)
    checks.check_shape(shape, where)
    checks.check_data_type(np.dtype(image.get_data_dtype()), where)
    affine = np.asarray(image.affine)
    checks.check_affine(affine, where)
    turned = nib.as_closest_canonical(image)
    voxels = np.asanyarray(turned.dataobj)
    voxels = voxels.reshape((*voxels.shape[:3], -1))
    native = NativeSpace(shape if voxels.shape[3] == 1 else shape[:3], affine, image.header)
    return RasImage(where, voxels, np.asarray(turned.affine), native)


def _checked_volume(name: str, where: str, files: Mapping[str, RasImage]) -> Volume:
    """Check the images of a case, each and against each other, and join them."""
    first = next(iter(files.values()))
    images: dict[str, np.ndarray] = {}
    for key, file in files.items():
        checks.check_same_grid(first.grid, file.grid)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused next
            images[key] = file.voxels.astype(np.float32)
        checks.check_image(images[key], f"{file.where} ({key})")
    checks.check_distinct(images, where)
    return Volume(name, images, None, first.affine, first.native)


def _read_label(case: Case, source: Source, grid: checks.Grid) -> np.ndarray:
    """Read the classes of a case, which must lie on the grid of its images."""
    if case.convention is None:
        raise InputError(f"case {case.name}: no label convention was chosen for {source.path}")
    file = read_nifti(source.path, f"case {case.name}: {source.path}")
    label = file.volume(source.channel, source.channels)
    checks.check_same_grid(grid, label.grid)
    classes = label_convention_named(case.convention).to_classes(label.voxels, label.where)
    if not case.cavity:
        classes[classes == CAVITY] = 0
    return classes
