"""What was measured, by data set, method and seed?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from ..experiments.record import FAILED, FINISHED, read_record
from ..experiments.run import FILE

ALONE, JOINT, OTHER = 0, 1, 2  # in the order of the table
# What a record has, besides its state, and what it has once the run is finished.
NEEDED = ("data_label", "label", "seed")
NEEDED_IF_FINISHED = (
    *(*NEEDED, "bundle", "method", "method_settings", "settings", "modalities", "alone", "single"),
    *("versions", "commit", "seconds", "seconds_known", "tested_on", "samples", "figures"),
)


@dataclass
class Row:
    """A row of a table, over seeds.

    Attributes:
        label: first cell.
        method: as in ``--method``.
        kind: single modality, joint training or another method.
        own: the method's settings that the grid gave.
        modalities: of the run; None for all of the bundle.
        figures: name to seed to value.
        seconds: seed to seconds of training, where they are known.
        seeds: of the finished runs, also where a figure could not be computed.
    """

    label: str
    method: str
    kind: int
    own: Mapping[str, Any]
    modalities: Sequence[str] | None
    figures: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)


@dataclass
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
    settings: dict[str, Mapping[str, Any]]
    versions: list[Mapping[str, Any]]
    missing: list[str]

    @property
    def joint(self) -> Row | None:
        """The row that others are compared with."""
        return next((row for row in self.rows if row.kind == JOINT), None)


def collect(folder: Path) -> list[DataSet]:
    """Read all runs below a folder; a data set without a finished run has no rows.

    Raises:
        InputError: there is no finished run, a record is damaged, or runs of one data set were
            tested on different samples.
    """
    paths = sorted(folder.glob(f"*/*/seed-*/{FILE}"))
    sets = data_sets([found for path in paths if (found := read_run(path.parent)) is not None])
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
    return [_data_set(label, found) for label, found in by_label.items()]


def without(data: DataSet, figures: Sequence[str]) -> DataSet:
    """The same data set, its rows without some figures."""
    rows = [
        replace(row, figures={k: v for k, v in row.figures.items() if k not in figures})
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
    rows: dict[str, Row] = {}
    for record in finished:
        for row, figures in record["figures"].items():
            _add(rows, row, record, figures)
    versions: list[Mapping[str, Any]] = []
    for record in finished:
        about = {**record["versions"], "commit": record["commit"]}
        versions += [about] if about not in versions else []
    return DataSet(
        label,
        bundle,
        name,
        samples,
        rows=sorted(rows.values(), key=lambda row: row.kind),
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


def _add(
    rows: dict[str, Row], name: str, record: Mapping[str, Any], figures: Mapping[str, float | None]
) -> None:
    alone = bool(record["alone"] or record["single"])
    is_joint = record["method"] == "joint" and not alone and not record["method_settings"]
    kind = ALONE if alone else JOINT if is_joint else OTHER
    fresh = Row(name, record["method"], kind, record["method_settings"], record["modalities"])
    row = rows.setdefault(name, fresh)
    seed = record["seed"]
    row.seeds.add(seed)
    for figure, value in figures.items():
        if value is not None and math.isfinite(value):
            row.figures.setdefault(figure, {})[seed] = value
    # Networks trained side by side share their time; no modality has one of its own.
    if record["seconds_known"] and not record["alone"]:
        row.seconds[seed] = record["seconds"]["train"]
