"""Masks as DICOM segmentations (BINARY) on the frames of the series that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
from matplotlib.colors import to_rgb
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from ...data.brats.conventions import CAVITY, CLASSES, label_convention_named
from ...data.brats.nifti import read_nifti
from ...data.dicom.stacks import Stack
from ...data.errors import InputError
from ...data.files import whole_file
from .overlays import ALL_COLORS

LABEL = "RESEARCH_USE"
SERIES_NUMBER = 9100
_SAME_PLACE = 0.01  # of a voxel, at every corner of the grid

# DICOM PS3.16, CID 7159; the category is of CID 7150. There is no term for a resection cavity: the
# general one is taken, and the label says what it is.
_CATEGORY = codes.SCT.MorphologicallyAbnormalStructure
_SEGMENTS = {
    "NCR": ("Necrotic or non-enhancing core", codes.SCT.Necrosis),
    "ED": ("Edema", codes.SCT.Edema),
    "ET": ("Enhancing tumor", codes.NCIt.EnhancingLesion),
    "RC": ("Resection cavity", codes.SCT.Lesion),
}
_CORE = ("Tumor core, enhancing part not told", codes.SCT.Neoplasm)  # in place of NCR and ET


def read_mask(path: Path, convention: str, stack: Stack) -> NDArray[np.uint8]:
    """Read a mask and turn it to the axes of a series, (columns, rows, slices), classes 0 to 4.

    No voxel is interpolated: a mask on another grid is refused.

    Args:
        path: NIfTI, on the grid of the series, with its axes in any order and direction.
        convention: what its values mean.
        stack: of the series.

    Raises:
        InputError: the mask cannot be read, or lies elsewhere.
    """
    image = read_nifti(path, str(path)).volume(None, None)
    classes = label_convention_named(convention).to_classes(image.voxels, str(path))
    turn, beside = _fit(classes.shape, image.grid.affine, stack)
    if beside > _SAME_PLACE:
        raise InputError(
            f"{path} (shape {classes.shape}) does not lie on the series (shape {stack.shape}; "
            f"{beside:.2f} voxels beside): give the mask on the series' own grid, as cggm restore "
            "writes it"
        )
    return apply_orientation(classes, turn).astype(np.uint8)


def lies_on(path: Path, stack: Stack) -> bool:
    """Whether a mask has the grid of a series, by its header alone."""
    try:
        image = nib.load(path)
    except (OSError, ValueError, ImageFileError):
        return False
    if not isinstance(image, nib.Nifti1Image) or image.affine is None or len(image.shape) < 3:
        return False
    return _fit(image.shape[:3], np.asarray(image.affine), stack)[1] <= _SAME_PLACE


def _fit(
    shape: tuple[int, ...], affine: NDArray[np.float64], stack: Stack
) -> tuple[NDArray[np.floating], float]:
    """How to turn a grid to the axes of a series, and how many voxels it then lies beside."""
    to_series = np.linalg.inv(stack.affine) @ affine
    turn = io_orientation(to_series)
    place = to_series @ inv_ornt_aff(turn, shape)
    sides = np.array([shape[int(axis)] for axis in np.argsort(turn[:, 0])])
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)])
    there, here = corners * [*sides, 1], corners * [*stack.shape, 1]
    return turn, float(np.abs(there @ place.T - here).max())


def write_segmentation(
    classes: NDArray[np.uint8], stack: Stack, path: Path, *, enhancing: bool = True
) -> bool:
    """Write classes as a DICOM segmentation of the series, whole or not at all.

    Patient and study are those of the series, as the standard asks and an archive needs. There is a
    segment for the resection cavity only where the mask has one.

    Args:
        classes: 0 to 4, (columns, rows, slices) of the stack.
        stack: of the series.
        path: the file.
        enhancing: False where ET could not be told, for want of T1ce: there is no segment for it
            then, and what the network took for it belongs to a segment of the whole core.

    Returns:
        False when the same segmentation is there already.

    Raises:
        InputError: the series cannot be referred to, or the file cannot be written.
    """
    if not enhancing:
        classes = np.where(classes == CLASSES.index("ET"), np.uint8(CLASSES.index("NCR")), classes)
    segments = _segments(enhancing=enhancing, cavity=bool((classes == CAVITY).any()))
    if len(segments) < CAVITY:  # segments are numbered without a gap
        classes = np.where(classes == CAVITY, np.uint8(len(segments)), classes)
    sources, planes = _sources_and_planes(classes, stack)
    entropy = [sources[0].SeriesInstanceUID, version("cggm"), classes.tobytes().hex()]
    entropy += [] if enhancing else [_CORE[0]]
    # The same mask gets the same identity, so that an archive does not keep it twice.
    instance = generate_uid(entropy_srcs=[*entropy, "instance"])
    if path.is_file() and _instance_of(path) == instance:
        return False
    what = "Brain tumor" if enhancing else "Brain tumor without ET"
    description = f"{what}, for research use only"
    try:
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=planes,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(entropy_srcs=[*entropy, "series"]),
            series_number=SERIES_NUMBER,
            sop_instance_uid=instance,
            instance_number=1,
            manufacturer="cggm",
            manufacturer_model_name="cggm",
            software_versions=version("cggm"),
            device_serial_number="none",
            content_label=LABEL,
            content_description=description,
            series_description=description,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"no segmentation can be made of this series ({str(error).splitlines()[0]})"
        ) from error
    with whole_file(path) as temporary:
        segmentation.save_as(temporary)
    return True


def _sources_and_planes(
    classes: NDArray[np.uint8], stack: Stack
) -> tuple[Sequence[Dataset], NDArray[np.uint8]]:
    """Headers of the series and planes (frames, rows, columns), in the same order."""
    planes = np.ascontiguousarray(classes.transpose(2, 1, 0))
    paths = list(dict.fromkeys(frame.path for frame in stack.frames))
    sources = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    if len(sources) == len(stack.frames):
        return sources, planes
    if len(sources) > 1 or int(sources[0].NumberOfFrames) != len(stack.frames):
        raise InputError(
            "its frames are a part of one file, or lie in several files of many frames; a "
            "segmentation of such a series is not supported"
        )
    in_file = np.empty_like(planes)
    in_file[[frame.number for frame in stack.frames]] = planes
    return sources, in_file


def _segments(*, enhancing: bool, cavity: bool) -> list[hd.seg.SegmentDescription]:
    found = dict(_SEGMENTS)
    if not enhancing:
        found["NCR"] = _CORE
        del found["ET"]
    if not cavity:
        del found["RC"]
    algorithm = hd.AlgorithmIdentificationSequence(
        name="cggm", family=codes.DCM.ArtificialIntelligence, version=version("cggm")
    )
    return [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=_CATEGORY,
            segmented_property_type=kind,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[codes.SCT.Brain],
            display_color=hd.color.CIELabColor.from_rgb(
                *(255 * part for part in to_rgb(ALL_COLORS[name]))
            ),
        )
        for number, (name, (label, kind)) in enumerate(found.items(), 1)
    ]


def _instance_of(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except (OSError, InvalidDicomError, AttributeError):
        return ""
