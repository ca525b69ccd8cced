"""The dates of each patient, read from the records in a folder of `cggm segment`."""

from __future__ import annotations

import datetime
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....data.brats.checks import voxel_sizes
from ....data.brats.conventions import label_convention_named, region_volumes, told_in
from ....data.brats.nifti import RasImage, read_nifti
from ....data.errors import InputError
from ....data.patients import patient_of
from ....data.tables import check_unique, read_rows
from ..output_folder import VIEW, case_folders, changed_since, not_a_record, read_content

_LIKE_A_DAY = re.compile(r"\d{1,4}[./ -]\d{1,2}[./ -]\d{1,4}")


@dataclass(frozen=True)
class Visit:
    """One segmented case.

    Attributes:
        case: its name.
        patient: whose it is.
        date: day (2024-03-01) or name of the session; None where nothing tells it.
        sequences: that the network saw.
        volumes: of each region in ml; None for one that cannot be told.
        untold: the reason for each of these.
        weights: digests of the network's weights.
        folder: of the case.
        mask: its file.
        convention: of the mask's labels.
        corrected: the mask was changed after it was written; volumes are those of the changed one.
    """

    case: str
    patient: str
    date: str | None
    sequences: tuple[str, ...]
    volumes: Mapping[str, float | None]
    untold: Mapping[str, str]
    weights: tuple[str, ...]
    folder: Path
    mask: Path
    convention: str
    corrected: bool = False

    @property
    def day(self) -> datetime.date | None:
        """The date, if it is one of the calendar."""
        try:
            return datetime.date.fromisoformat(self.date or "")
        except ValueError:
            return None

    @property
    def when(self) -> str:
        """What a sentence calls this visit."""
        return self.date or self.case

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the mask.

        Returns:
            Classes 0 to 4, uint8 (X, Y, Z) along RAS+ axes; voxel to RAS mm, (4, 4).

        Raises:
            InputError: it cannot be read, or is no mask of its convention.
        """
        image = read_nifti(self.mask, f"case {self.case}: {self.mask}").volume(None, None)
        convention = label_convention_named(self.convention)
        return convention.to_classes(image.voxels, image.where), image.affine

    def view(self, sequence: str) -> RasImage:
        """Read a sequence as the case's page shows it: 1 to 255 in the brain, 0 outside.

        Raises:
            InputError: it cannot be read.
        """
        path = self.folder / VIEW / f"{sequence}.nii.gz"
        return read_nifti(path, f"case {self.case}: {path}").volume(None, None)


class Patient(NamedTuple):
    """The visits of a patient, from the earliest on; why they have no order, if so."""

    name: str
    visits: list[Visit]
    unordered: str | None = None


def read_visits(folder: Path) -> tuple[list[Visit], dict[str, str]]:
    """Read the records of all cases of a folder, in the order of their names.

    Returns:
        The visits; why a case could not be read, by its name.

    Raises:
        InputError: there is no record at all.
    """
    visits, failures = [], {}
    for case in case_folders(folder):
        try:
            visits.append(_visit(case))
        except InputError as error:
            failures[case.name] = str(error)
    if not visits and not failures:
        raise InputError(f"{folder} holds no segmented case; expected a folder of cggm segment")
    return visits, failures


def dated(visits: Iterable[Visit], table: Path | None) -> list[Visit]:
    """Give visits the dates of a table with the columns ``case`` and ``date``.

    Raises:
        InputError: the table cannot be read, or names a case twice or one that is not there.
    """
    visits = list(visits)
    if table is None:
        return visits
    rows = read_rows(table, ("case", "date"))
    check_unique([row["case"] for row in rows], table, "keep one row of each")
    dates = {row["case"]: row["date"].strip() for row in rows}
    unknown = sorted(set(dates) - {visit.case for visit in visits})
    if unknown:
        raise InputError(f"{table}: no case is called {unknown[0]!r}; correct the name")
    return [replace(v, date=dates.get(v.case, v.date) or None) for v in visits]


def patients_in(visits: Iterable[Visit]) -> list[Patient]:
    """Group visits by patient, each in the order of time where that is known."""
    groups: dict[str, list[Visit]] = defaultdict(list)
    for visit in visits:
        groups[visit.patient].append(visit)
    return [_ordered(name, groups[name]) for name in sorted(groups)]


def _ordered(name: str, visits: list[Visit]) -> Patient:
    if len(visits) == 1:
        return Patient(name, visits)
    if not all(visit.date for visit in visits):
        unknown = next(visit.case for visit in visits if not visit.date)
        return Patient(name, visits, f"the date of {unknown} is not known: give it with --dates")
    days = any(visit.day is not None for visit in visits)
    for other in visits:
        if other.day is None and (days or _LIKE_A_DAY.search(other.date or "")):
            sentence = f"{other.date!r} of {other.case} is no day such as 2024-03-01"
            return Patient(name, visits, f"{sentence}: give one with --dates")
    visits = sorted(visits, key=_moment)
    for first, second in zip(visits, visits[1:], strict=False):
        if first.date == second.date:
            both = f"{first.case} and {second.case} have one date, {first.date}"
            return Patient(name, visits, f"{both}: give others with --dates")
    return Patient(name, visits)


def _moment(visit: Visit) -> list[str | int]:
    """A key for sorting: numbers in a session's name count as numbers."""
    parts = re.split(r"(\d+)", visit.date or "")
    return [int(part) if part.isdecimal() else part for part in parts]


def _visit(folder: Path) -> Visit:
    record = read_content(folder)
    try:
        for name, kind in (("subject", str), ("date", str), ("untold", dict)):
            if not isinstance(record.get(name), kind | None):
                raise TypeError(f"{name} is {record[name]!r}")
        volumes = {r: None if ml is None else float(ml) for r, ml in record["volumes_ml"].items()}
        if not all(ml is None or math.isfinite(ml) for ml in volumes.values()):
            raise ValueError("a volume is no number")
        visit = Visit(
            record["case"],
            record.get("subject") or patient_of(record["case"]),
            record.get("date"),
            tuple(record["sequences"]),
            volumes,
            record["untold"],
            tuple(record["model"]["sha256"]),
            folder,
            folder / record["mask"],
            record["label_convention"],
        )
        sizes = record.get("files") or {}
        written = {name: sizes[name] for name in (record["mask"],) if name in sizes}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_a_record(folder, error) from error
    if visit.mask.is_file() and changed_since(folder, written):
        return _corrected(visit)
    return visit


def _corrected(visit: Visit) -> Visit:
    """The visit with the volumes of a mask that somebody has changed since it was written."""
    classes, affine = visit.classes()
    voxel_ml = float(voxel_sizes(affine).prod()) / 1000
    measured = region_volumes(classes, voxel_ml, told_in(visit.volumes))
    volumes = {
        region: None if ml is None else round(measured[region], 3)
        for region, ml in visit.volumes.items()
    }
    return replace(visit, volumes=volumes, corrected=True)
