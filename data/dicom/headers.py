"""What the headers of DICOM files say: whose they are, how they were taken, where frames lie.

A classic file is one frame, an enhanced one many; both become the same `Frame`. Pixels are not
read here.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ..brats.case_files import is_dicom, walk
from ..errors import InputError

_DEPTH = 12  # folders of patients, studies, series and archives; a limit also ends loops of links

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# Where an enhanced image keeps what a classic one says at its top.
_GROUP_OF = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "InversionTimes": "MRModifierSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
# fmt: off
_TOP = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "PatientName",
    "PatientBirthDate", "StudyInstanceUID", "StudyDate", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName",
    "ScanningSequence", "MRAcquisitionType", "ContrastBolusAgent", "AcquisitionDateTime",
    "AcquisitionDate", "AcquisitionTime", "SeriesTime", "ImageType", "NumberOfFrames",
    "Rows", "Columns", "SamplesPerPixel", "EchoTime", "InversionTime",
    "TemporalPositionIdentifier", "AcquisitionNumber",
]
# fmt: on


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane.

    Attributes:
        path: its file.
        number: of the frame in its file, from 0.
        instance: SOP Instance UID of its file.
        position: center of its first voxel in mm, LPS; None where it is not said.
        orientation: direction of a row and of a column, six cosines, LPS; likewise.
        spacing: mm between rows, and between columns; likewise.
        size: rows and columns.
        echo_time: in ms.
        image_type: such as `ORIGINAL PRIMARY M`.
        inversion_time: in ms.
        b_value: of diffusion, in s/mm².
        time_point: of a dynamic series.
        acquisition: its number.
    """

    path: Path
    number: int
    instance: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    size: tuple[int, int]
    echo_time: float | None = None
    image_type: str = ""
    inversion_time: float | None = None
    b_value: float | None = None
    time_point: int | None = None
    acquisition: int | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What the frames of a series have in common.

    Attributes:
        patient: a key of the patient: the ID, or name and birth date.
        private: texts that must not get into an output: name, ID, birth date.
        study: Study Instance UID.
        date: of the study, YYYYMMDD, or empty.
        series: Series Instance UID.
        number: of the series.
        modality: such as MR.
        description: of the series; `protocol` and `pulse` (name of the pulse sequence) likewise.
        repetition_time: in ms.
        thickness: of a slice in mm.
        contrast: the agent that was given, if any.
        dimension: 2D or 3D, as it was acquired.
        acquired: date and time, to be sorted as a text.
        transfer_syntax: UID of how the pixels are stored.
        colors: more than one sample for each pixel.
    """

    patient: str
    private: tuple[str, ...]
    study: str
    date: str
    series: str
    number: str
    modality: str
    description: str
    protocol: str
    pulse: str
    repetition_time: float | None
    thickness: float | None
    contrast: str
    dimension: str
    acquired: str
    transfer_syntax: str
    colors: bool


@dataclass
class Contents:
    """What a tree of files holds.

    Attributes:
        series: headers and frames by Series Instance UID.
        unreadable: the reason for each file that is DICOM by its name and cannot be read.
        others: number of DICOM objects that are no images, by modality.
    """

    series: dict[str, tuple[Header, list[Frame]]] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


def read_tree(root: Path, progress: Callable[[Iterable[Path]], Iterable[Path]] = iter) -> Contents:
    """Read the headers of all DICOM files below a folder, however they are named and mixed.

    Args:
        root: the folder.
        progress: goes through the files, such as `tqdm`.

    Raises:
        InputError: it is no folder, or holds no image in DICOM.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}; expected a folder of DICOM files")
    contents = Contents()
    for path in progress([path for files, _, _ in walk(root, _DEPTH) for path in files]):
        if path.name.upper() != "DICOMDIR" and is_dicom(path):
            _take(path, contents)
    if not contents.series:
        rest = f", but {contents.others.total()} other objects" if contents.others else ""
        bad = next(iter(contents.unreadable.items()), None)
        broken = f"; {bad[0]} cannot be read: {bad[1]}" if bad else ""
        raise InputError(f"{root} holds no DICOM image{rest}{broken}; expected files of MR series")
    return contents


def functional_value(dataset: Dataset, frame: int, keyword: str) -> Any:
    """A value of one frame: of its functional groups, of the shared ones, or of the top."""
    group = _GROUP_OF.get(keyword, "")
    places = [*dataset.get(_PER_FRAME, [])[frame : frame + 1], *dataset.get(_SHARED, [])]
    for place in places:
        for item in place.get(group) or []:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return dataset.get(keyword)


def _take(path: Path, contents: Contents) -> None:
    """Add the frames of a file to those of its series."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings repeat values, and names
            header, frames = _read(path)
    except Exception as error:  # whatever a damaged file holds, the others are read
        contents.unreadable[path] = f"{type(error).__name__}: {error}".partition("\n")[0]
        return
    if frames:
        contents.series.setdefault(header.series, (header, []))[1].extend(frames)
    else:
        contents.others[header.modality or "unknown"] += 1


def _read(path: Path) -> tuple[Header, list[Frame]]:
    tags = [*_TOP, *_GROUP_OF, _SHARED, _PER_FRAME]
    # Old archives leave the preamble out, which `force` allows.
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    if "SOPClassUID" not in dataset or "SeriesInstanceUID" not in dataset:
        raise ValueError("it is no DICOM object with a series")
    return _header(dataset), list(_frames(dataset, path)) if "Rows" in dataset else []


def _header(dataset: Dataset) -> Header:
    name, birth = _text(dataset, "PatientName"), _text(dataset, "PatientBirthDate")
    identity, study = _text(dataset, "PatientID"), _text(dataset, "StudyInstanceUID")
    moments = ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "SeriesTime")
    acquired = [text for text in (_text(dataset, keyword) for keyword in moments) if text]
    return Header(
        patient=identity or f"{name} {birth}".strip() or study,
        private=tuple(text for text in (name, identity, birth) if text),
        study=study,
        date=_text(dataset, "StudyDate"),
        series=_text(dataset, "SeriesInstanceUID"),
        number=_text(dataset, "SeriesNumber"),
        modality=_text(dataset, "Modality"),
        description=_text(dataset, "SeriesDescription"),
        protocol=_text(dataset, "ProtocolName"),
        pulse=_text(dataset, "SequenceName") or _text(dataset, "PulseSequenceName"),
        repetition_time=_number(dataset, 0, "RepetitionTime"),
        thickness=_number(dataset, 0, "SliceThickness"),
        contrast=_text(dataset, "ContrastBolusAgent"),
        dimension=_text(dataset, "MRAcquisitionType"),
        acquired=" ".join(acquired),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        colors=int(dataset.get("SamplesPerPixel") or 1) > 1,
    )


def _frames(dataset: Dataset, path: Path) -> Iterator[Frame]:
    for index in range(int(dataset.get("NumberOfFrames") or 1)):
        echo = _number(dataset, index, "EffectiveEchoTime")
        inversion = _number(dataset, index, "InversionTimes")
        time_point = _number(dataset, index, "TemporalPositionIndex")
        acquisition = _number(dataset, index, "FrameAcquisitionNumber")
        kind = functional_value(dataset, index, "FrameType") or dataset.get("ImageType") or ()
        yield Frame(
            path=path,
            number=index,
            instance=_text(dataset, "SOPInstanceUID"),
            position=_numbers(dataset, index, "ImagePositionPatient", 3),
            orientation=_numbers(dataset, index, "ImageOrientationPatient", 6),
            spacing=_numbers(dataset, index, "PixelSpacing", 2),
            size=(int(dataset.Rows), int(dataset.Columns)),
            echo_time=_number(dataset, index, "EchoTime") if echo is None else echo,
            image_type=kind if isinstance(kind, str) else " ".join(map(str, kind)),
            inversion_time=(
                _number(dataset, index, "InversionTime") if inversion is None else inversion
            ),
            b_value=_number(dataset, index, "DiffusionBValue"),
            time_point=_whole(
                _number(dataset, index, "TemporalPositionIdentifier")
                if time_point is None
                else time_point
            ),
            acquisition=_whole(
                _number(dataset, index, "AcquisitionNumber") if acquisition is None else acquisition
            ),
        )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else " ".join(str(value).split())


def _number(dataset: Dataset, frame: int, keyword: str) -> float | None:
    value = functional_value(dataset, frame, keyword)
    if isinstance(value, (list, MultiValue)):
        value = value[0] if value else None
    return None if value is None or value == "" else float(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _numbers(dataset: Dataset, frame: int, keyword: str, count: int) -> tuple[float, ...] | None:
    value = functional_value(dataset, frame, keyword)
    if not value or len(value) != count:
        return None
    return tuple(float(number) for number in value)
