"""The record of a segmented case: what it was made from, what came out, what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, cast

from ....data.brats.cases import Case
from ....data.brats.conventions import told_in
from ....data.errors import InputError
from ....data.files import fingerprint, is_same_file
from ..output_folder import case_folders, changed_since, corrected_masks, not_a_record, read_content
from ..reliability import joined


class CaseRecord(TypedDict):
    """What ``<case>.json`` holds, the last file of a finished case.

    ``volumes_ml`` and ``expected_dice`` are null for a region that cannot be told from the
    sequences; ``expected_dice`` as a whole where the weights were never evaluated. ``inputs`` has
    the names of files, and no folder above them. ``findings`` are those of
    :func:`.quality.check_case`. ``files`` are those of the case with their sizes in bytes, apart
    from its page, which may be written anew.
    """

    format: int
    case: str
    subject: str
    date: str | None
    sequences: list[str]
    prepared: bool
    volumes_ml: dict[str, float | None]
    expected_dice: dict[str, float | None] | None
    expected: str
    untold: dict[str, str]
    remarks: list[str]
    findings: list[dict[str, str | None]]
    confidence: dict[str, float | None]
    label_convention: str
    mask: str
    native_masks: dict[str, str]
    inputs: dict[str, dict[str, Any]]
    model: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    finished: str
    seconds: dict[str, float]
    files: dict[str, int]


def read_record(folder: Path) -> CaseRecord:
    """Read the record of a finished case, and check that its files are there.

    Raises:
        InputError: this is no finished case.
    """
    record = cast("CaseRecord", read_content(folder))
    try:
        row_of(record, folder)  # one that gives no row is none
        if not isinstance(record["inputs"], dict) or not isinstance(record["files"], dict):
            raise ValueError("inputs or files are no table")
        for name in record["files"]:
            (folder / name).stat()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_a_record(folder, error) from error
    return record


def changed_files(folder: Path) -> list[str]:
    """Files of a finished case that somebody has changed since, such as a corrected mask."""
    try:
        sizes = read_record(folder)["files"]
    except InputError:
        return []
    return changed_since(folder, sizes)


def finished_records(output: Path) -> Iterator[CaseRecord]:
    """The records of all finished cases of an output folder, by name."""
    for folder in case_folders(output):
        with suppress(InputError):
            yield read_record(folder)


def is_made_from(record: CaseRecord, case: Case) -> bool:
    """Whether a mask comes from files of this case, whatever else the case has."""
    try:
        return all(
            about.get("channel") == case.images[name].channel
            and is_same_file(about, case.images[name].path)
            for name, about in record["inputs"].items()
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def described_inputs(case: Case) -> dict[str, dict[str, Any]]:
    """Fingerprints of the files of a case, by sequence.

    Raises:
        OSError: a file cannot be read.
    """
    files = {path: fingerprint(path) for path in {one.path for one in case.images.values()}}
    return {
        name: files[source.path] | ({} if source.channel is None else {"channel": source.channel})
        for name, source in case.images.items()
    }


def row_of(record: CaseRecord, folder: Path) -> dict[str, Any]:
    """One line of ``volumes.csv``; a region that cannot be told is empty.

    Raises:
        OSError: a mask is gone.
    """
    volumes, dice = record["volumes_ml"], record["expected_dice"]
    regions = told_in(volumes)
    remarks = [corrected_masks(folder, record), *record["untold"].values(), *record["remarks"]]
    return {
        "case": record["case"],
        "subject": record["subject"],
        "date": record["date"] or "",
        "sequences": joined(record["sequences"]),
        "prepared": record["prepared"],
        **{f"{region}_ml": _cell(volumes, region) for region in regions},
        **{f"{region}_expected_dice": _cell(dice or {}, region) for region in regions},
        "expected": record["expected"],
        "remark": "; ".join(filter(None, remarks)),
        "findings": " ".join(dict.fromkeys(str(each["code"]) for each in record["findings"])),
        **{f"{region}_confidence": _cell(record["confidence"], region) for region in regions},
        "seconds": round(sum(record["seconds"].values()), 1),
    }


def _cell(values: Mapping[str, float | None], region: str) -> float | str:
    value = values.get(region)
    return "" if value is None else round(value, 3)
