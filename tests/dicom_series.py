"""Small DICOM series on disk: classic and enhanced MR, in any direction, in shuffled files."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

NAME, ID, BIRTH = "Mustermann^Erika", "PID4711007", "19640812"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SHAPE = (12, 10, 8)  # columns, rows, slices


def oblique(degrees: float = 20.0) -> tuple[float, ...]:
    """Directions of a row and a column, turned about two axes."""
    a, b = np.radians([degrees, degrees / 2])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turned = about_z @ about_x
    return tuple(turned[:, 0]) + tuple(turned[:, 1])


def voxels(seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, tuple(shape)).astype(np.uint16)


def write_series(
    folder: Path,
    array: np.ndarray | None = None,
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-30.0, -40.0, 15.0),
    pixel: Sequence[float] = (0.9, 0.8),
    step: float = 5.0,
    places: Sequence[float] | None = None,
    patient: tuple[str, str, str] = (NAME, ID, BIRTH),
    study: str = "1.2.3.1",
    date: str = "20240229",
    series: str | None = None,
    rescale: tuple[float, float] | None = None,
    enhanced: bool = False,
    seed: int = 0,
    **tags: Any,
) -> list[Path]:
    """Write one series of an array (columns, rows, slices) with pixels between rows and columns.

    Args:
        places: of the slices along their normal, in place of multiples of `step`.
        tags: further DICOM attributes by keyword; a list has a value for each slice.
    """
    array = voxels(seed) if array is None else array
    normal = np.cross(orientation[:3], orientation[3:])
    places = [step * index for index in range(array.shape[2])] if places is None else places
    positions = [np.array(origin) + place * normal for place in places]
    base = Dataset()
    base.PatientName, base.PatientID, base.PatientBirthDate = patient
    base.PatientSex, base.AccessionNumber, base.StudyID, base.StudyTime = "F", "", "1", "101112"
    base.ReferringPhysicianName = ""
    base.StudyInstanceUID, base.StudyDate = study, date
    base.SeriesInstanceUID = series or generate_uid()
    base.FrameOfReferenceUID = "1.2.3.9"
    base.PositionReferenceIndicator = ""
    base.Modality, base.Manufacturer = "MR", "phantom"
    base.SeriesNumber, base.SeriesDescription = 1, "t2_tse_tra"
    base.SliceThickness, base.SamplesPerPixel = step, 1
    base.PhotometricInterpretation = "MONOCHROME2"
    base.Columns, base.Rows = array.shape[:2]
    base.BitsAllocated = base.BitsStored = 16
    base.HighBit, base.PixelRepresentation = 15, 0
    base.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    folder.mkdir(parents=True, exist_ok=True)
    write = _write_enhanced if enhanced else _write_classic
    return write(folder, base, array, positions, orientation, pixel, rescale, tags)


def _write_classic(folder, base, array, positions, orientation, pixel, rescale, tags):
    names = random.Random(7).sample(range(10_000), len(positions))  # no file name tells an order
    paths = []
    for index, position in enumerate(positions):
        dataset = copy.deepcopy(base)
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
        dataset.InstanceNumber = names[index]
        dataset.ImagePositionPatient = [round(float(value), 6) for value in position]
        dataset.ImageOrientationPatient = [round(float(value), 9) for value in orientation]
        dataset.PixelSpacing = list(pixel)
        if rescale:
            dataset.RescaleSlope, dataset.RescaleIntercept = rescale
            dataset.RescaleType = "US"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value[index] if isinstance(value, list) else value)
        dataset.PixelData = array[:, :, index].T.tobytes()
        paths.append(_save(dataset, folder / f"IM{names[index]:05d}"))
    return paths


def _write_enhanced(folder, base, array, positions, orientation, pixel, rescale, tags):
    order = random.Random(3).sample(range(len(positions)), len(positions))
    base.SOPClassUID, base.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    base.InstanceNumber, base.NumberOfFrames = 1, len(positions)
    base.ContentDate, base.ContentTime = base.StudyDate, "101112"
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(pixel), base.pop("SliceThickness").value
    plane.ImageOrientationPatient = [round(float(value), 9) for value in orientation]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    if rescale:
        values = Dataset()
        values.RescaleSlope, values.RescaleIntercept = rescale
        values.RescaleType = "US"
        shared.PixelValueTransformationSequence = [values]
    base.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, index in enumerate(order):
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [round(float(value), 6) for value in positions[index]]
        content.StackID, content.InStackPositionNumber = "1", number + 1
        content.DimensionIndexValues = [number + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        frames.append(frame)
    base.PerFrameFunctionalGroupsSequence = frames
    for keyword, value in tags.items():
        setattr(base, keyword, value)
    base.PixelData = b"".join(array[:, :, index].T.tobytes() for index in order)
    return [_save(base, folder / "enhanced")]


def _save(dataset: Dataset, path: Path) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path
