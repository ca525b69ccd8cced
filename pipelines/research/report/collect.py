"""Finished runs by data set: the rows of a table, and what each measured with every seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ....data.errors import InputError
from ..experiments.record import FAILED, FINISHED, read_record
from ..experiments.run import FILE

SECONDS = "seconds"  # of training, a column beside the figures
# What a record has, besides its state, and what it has once the run is finished.
NEEDED = ("data_label", "label", "seed")
NEEDED_IF_FINISHED = (
    *(*NEEDED, "bundle", "method", "method_settings", "settings", "modalities", "alone", "single"),
    *("versions", "commit", "seconds", "seconds_known", "tested_on", "samples", "figures"),
)


class Kind(IntEnum):
    """What a row trained, in the order of the table."""

    ALONE = 0  # a single modality
    JOINT = 1
    OTHER = 2  # another method


@dataclass(frozen=True)
class Row:
    """A row of a table, over seeds.

    Attributes:
        label: first cell.
        method: as in ``--method``.
        kind: single modality, joint training or another method.
        own: the method's settings that the grid gave.
        modalities: of the run; None for all of the bundle.
        runs: a line per seed that is finished, a column per figure and :data:`SECONDS`; NaN where
            a figure is undefined or the time is not known.
        settings: that the grid gave to all methods.
    """

    label: str
    method: str
    kind: Kind
    own: Mapping[str, Any]
    modalities: Sequence[str] | None
    runs: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seeds(self) -> set[int]:
        """Of the finished runs, also where a figure is undefined."""
        return set(self.runs.index)

    def values(self, column: str) -> pd.Series:
        """A figure or :data:`SECONDS` of each seed, where it is known."""
        return self.runs[column].dropna() if column in self.runs else pd.Series(dtype=float)


@dataclass(frozen=True)
class DataSet:
    """All runs on one data set.

    Attributes:
        label: the folder's name for the reader.
        bundle: the bundle.
        name: the data's own name.
        samples: how many were tested.
        rows: single modalities first, then joint training, then the others.
        settings: that the grid gave to all methods, by row and seed.
        versions: of packages, and the commit of the code, one entry per kind met.
        missing: runs that failed or are not finished, in words.
    """

    label: str
    bundle: str
    name: str
    samples: int | None
    rows: list[Row]
    settings: Mapping[str, Mapping[str, Any]]
    versions: list[Mapping[str, Any]]
    missing: list[str]

    @property
    def joint(self) -> Row | None:
        """The row that others are compared with."""
        return next((row for row in self.rows if row.kind == Kind.JOINT), None)

    @property
    def is_compared(self) -> bool:
        """Whether there are methods to compare with joint training."""
        return self.joint is not None and any(row.kind == Kind.OTHER for row in self.rows)


def collect(folder: Path) -> list[DataSet]:
    """Read all runs below a folder; a data set without a finished run has no rows.

    Raises:
        InputError: there is no finished run, a record is damaged, or runs of one data set were
            tested on different samples.
    """
    paths = sorted(folder.glob(f"*/*/seed-*/{FILE}"))
    records = [read_run(path.parent) for path in paths]
    sets = data_sets(record for record in records if record is not None)
    if not any(data.rows for data in sets):
        raise InputError(f"{folder} has no finished run; start some with `cggm experiments`")
    return sets


def read_run(folder: Path) -> dict[str, Any] | None:
    """A run's record; None where there is none.

    Raises:
        InputError: it is damaged, or lacks what the tables need.
    """
    record = read_record(folder)
    if record is None:
        return None
    needed = NEEDED_IF_FINISHED if record["state"] == FINISHED else NEEDED
    missing = [name for name in needed if name not in record]
    if missing:
        raise InputError(
            f"{folder / FILE} has no {missing[0]!r}, which every run leaves; it is damaged or of "
            "another version: remove its folder"
        )
    return record


def data_sets(records: Iterable[Mapping[str, Any]]) -> list[DataSet]:
    """Group the records of runs by data set; one without a finished run has no rows.

    Args:
        records: in the order that rows shall have.

    Raises:
        InputError: runs of one data set were tested on different samples.
    """
    by_label: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_label.setdefault(record["data_label"], []).append(record)
    return [_data_set(label, group) for label, group in by_label.items()]


def without(data: DataSet, figures: Sequence[str]) -> DataSet:
    """The same data set, its rows without some figures."""
    rows = [
        replace(row, runs=row.runs.drop(columns=list(figures), errors="ignore"))
        for row in data.rows
    ]
    return replace(data, rows=rows)


def state_of(record: Mapping[str, Any]) -> str:
    """What became of a run that is not finished, in words."""
    why = f" ({record.get('failure')})" if record["state"] == FAILED else ""
    return f"{record['label']}, seed {record['seed']}: {record['state']}{why}"


def _data_set(label: str, records: Sequence[Mapping[str, Any]]) -> DataSet:
    finished = [record for record in records if record["state"] == FINISHED]
    bundle, name, samples = _tested_on(label, finished)
    versions: list[Mapping[str, Any]] = []
    for record in finished:
        about = {**record["versions"], "commit": record["commit"]}
        versions += [about] if about not in versions else []
    return DataSet(
        label,
        bundle,
        name,
        samples,
        rows=sorted(_rows(finished), key=lambda row: row.kind),
        settings={f"{r['label']}, seed {r['seed']}": r["settings"] for r in finished},
        versions=versions,
        missing=[state_of(record) for record in records if record["state"] != FINISHED],
    )


def _tested_on(label: str, finished: Sequence[Mapping[str, Any]]) -> tuple[str, str, int | None]:
    """Bundle, name of the data and number of samples, the same for all runs."""
    tested = {(r["bundle"], r["tested_on"], r["samples"]) for r in finished}
    if len(tested) > 1:
        names = " and ".join(
            f"{name} ({count} samples, bundle {bundle})"
            for bundle, name, count in sorted(tested, key=str)
        )
        raise InputError(f"runs called {label!r} were tested on {names}; keep them apart with 'as'")
    return next(iter(tested), ("", "", None))


def _rows(finished: Sequence[Mapping[str, Any]]) -> list[Row]:
    records = {label: record for record in reversed(finished) for label in record["figures"]}
    lines = [
        {"row": label, "seed": record["seed"], SECONDS: _seconds(record), **figures}
        for record in finished
        for label, figures in record["figures"].items()
    ]
    if not lines:
        return []
    runs = pd.DataFrame(lines).set_index(["row", "seed"]).astype(float)
    runs = runs.replace([np.inf, -np.inf], np.nan).groupby(["row", "seed"], sort=False).last()
    return [
        Row(
            str(label),
            records[label]["method"],
            _kind(records[label]),
            records[label]["method_settings"],
            records[label]["modalities"],
            seeds.droplevel("row").dropna(axis="columns", how="all"),
            records[label]["settings"],
        )
        for label, seeds in runs.groupby("row", sort=False)
    ]


def _kind(record: Mapping[str, Any]) -> Kind:
    if record["alone"] or record["single"]:
        return Kind.ALONE
    is_joint = record["method"] == "joint" and not record["method_settings"]
    return Kind.JOINT if is_joint else Kind.OTHER


def _seconds(record: Mapping[str, Any]) -> float:
    # Networks trained side by side share their time; no modality has one of its own.
    known = record["seconds_known"] and not record["alone"]
    return record["seconds"]["train"] if known else np.nan
