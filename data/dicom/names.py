"""Names of cases that tell no patient, and the private list of who they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ..files import write_csv
from ..tables import read_rows
from .series import Series

_NUMBERED = re.compile(r"P-(\d{4,})-\d+")
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
_COLUMNS = ("case", "patient", "name", "date", "study_uid")


def name_cases(
    series: Sequence[Series], known: Mapping[str, str], *, keep_ids: bool = False
) -> None:
    """Set `case` and `day` of all series: `P-0001-1` is the first examination of a patient.

    Args:
        series: of all patients.
        known: case by name of a series or by Study Instance UID, from earlier runs; these stay.
        keep_ids: use the patient's ID in place of a number.
    """
    patients: dict[str, dict[str, list[Series]]] = {}
    for one in series:
        patients.setdefault(one.header.patient, {}).setdefault(one.header.study, []).append(one)
    taken = set(known.values())
    numbers = [int(match[1]) for name in taken if (match := _NUMBERED.fullmatch(name))]
    free = max(numbers, default=0) + 1
    for patient in sorted(patients, key=_scattered):
        studies = patients[patient]
        named = {study: _known_case(study, group, known) for study, group in studies.items()}
        stem = next((name.rpartition("-")[0] for name in named.values() if name), "")
        if not stem:
            stem = f"P-{free:04d}"
            if keep_ids:
                stem = _unused(_UNUSUAL.sub("_", patient).strip("._-") or stem, taken)
            else:
                free += 1
        for study in sorted(studies, key=lambda study: _moment(studies[study])):
            if not named[study]:
                named[study] = _next(stem, taken)
            taken.add(named[study])
        _assign(studies, named, known)


def read_mapping(path: Path) -> dict[str, str]:
    """Cases of earlier runs by Study Instance UID; empty when there is no such file yet."""
    if not path.exists():
        return {}
    return {row["study_uid"]: row["case"] for row in read_rows(path, ("case", "study_uid"))}


def write_mapping(path: Path, series: Sequence[Series]) -> None:
    """Write who the cases are, beside those that are in the file and not in this tree."""
    old = read_rows(path, _COLUMNS) if path.exists() else []
    rows = {row["study_uid"]: row for row in old}
    for one in series:
        name = next(iter(one.header.private), "")
        values = (one.case, one.header.patient, name, one.header.date, one.header.study)
        rows[one.header.study] = dict(zip(_COLUMNS, values, strict=True))
    write_csv(path, sorted(rows.values(), key=lambda row: row["case"]), _COLUMNS)


def _assign(
    studies: Mapping[str, Sequence[Series]], named: Mapping[str, str], known: Mapping[str, str]
) -> None:
    dates = {study: _date(group) for study, group in studies.items()}
    first = min((date for date in dates.values() if date), default=None)
    for study, group in studies.items():
        date = dates[study]
        for one in group:
            one.case = known.get(one.name, named[study])
            one.day = (date - first).days if date and first else ""


def _known_case(study: str, group: Sequence[Series], known: Mapping[str, str]) -> str:
    names = [known.get(study), *(known.get(one.name) for one in group)]
    return next((name for name in names if name), "")


def _next(stem: str, taken: set[str]) -> str:
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _unused(stem: str, taken: set[str]) -> str:
    """A stem that no other patient has, as two IDs may differ only in unusual signs."""
    stems = {name.rpartition("-")[0] for name in taken}
    return stem if stem not in stems else _next(f"{stem}_other", stems)


def _scattered(text: str) -> str:
    """A key in whose order names of files or patients cannot be seen."""
    return hashlib.sha256(text.encode()).hexdigest()


def _date(group: Sequence[Series]) -> datetime | None:
    try:
        return datetime.strptime(group[0].header.date, "%Y%m%d")
    except ValueError:
        return None


def _moment(group: Sequence[Series]) -> tuple[str, str, str]:
    return group[0].header.date, min(one.header.acquired for one in group), group[0].header.study
