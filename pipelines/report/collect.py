"""What was measured, by data set, method and seed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from ..experiments.record import FAILED, FINISHED, read_record
from ..experiments.run import FILE

ALONE, JOINT, OTHER = 0, 1, 2  # in the order of the table


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
        samples: tested.
        rows: single modalities first, then joint training, then the others.
        settings: that the grid gave to all, by row label where they differ.
        commits: of the code, and versions, one entry per kind met.
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
    """Read all runs below a folder.

    Raises:
        InputError: there is no finished run, or runs of one data set were tested on different
            samples.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob(f"*/*/seed-*/{FILE}")):
        record = read_record(path.parent)
        if record is not None:
            found.setdefault(record["data_label"], []).append(record)
    sets = [_data_set(label, records) for label, records in found.items()]
    sets = [data for data in sets if data.rows]
    if not sets:
        raise InputError(
            f"{folder} has no finished run; start some with `python -m cggm.pipelines.experiments`"
        )
    return sets


def without(data: DataSet, figures: Sequence[str]) -> DataSet:
    """The same data set, its rows without some figures."""
    rows = [
        replace(row, figures={k: v for k, v in row.figures.items() if k not in figures})
        for row in data.rows
    ]
    return replace(data, rows=rows)


def _data_set(label: str, records: list[dict[str, Any]]) -> DataSet:
    finished = [record for record in records if record["state"] == FINISHED]
    tested = {(r["bundle"], r["tested_on"], r["samples"]) for r in finished}
    if len(tested) > 1:
        names = " and ".join(f"{name} ({count} samples)" for _, name, count in sorted(tested))
        raise InputError(f"runs called {label!r} were tested on {names}; keep them apart with 'as'")
    rows: dict[str, Row] = {}
    for record in finished:
        for name, figures in record["figures"].items():
            _add(rows, name, record, figures)
    ordered = sorted(rows.values(), key=lambda row: row.kind)
    bundle, name, samples = next(iter(tested), ("", "", None))
    versions: list[Mapping[str, Any]] = []
    for record in finished:
        about = {**record["versions"], "commit": record["commit"]}
        versions += [about] if about not in versions else []
    return DataSet(
        label,
        bundle,
        name,
        samples,
        ordered,
        {f"{r['label']}, seed {r['seed']}": r["settings"] for r in finished},
        versions,
        [
            f"{r['label']}, seed {r['seed']}: {r['state']}"
            + (f" ({r['failure']})" if r["state"] == FAILED else "")
            for r in records
            if r["state"] != FINISHED
        ],
    )


def _add(
    rows: dict[str, Row], name: str, record: dict[str, Any], figures: Mapping[str, float | None]
) -> None:
    alone = bool(record["alone"] or record["single"])
    is_joint = record["method"] == "joint" and not alone and not record["method_settings"]
    kind = ALONE if alone else JOINT if is_joint else OTHER
    fresh = Row(name, record["method"], kind, record["method_settings"], record["modalities"])
    row = rows.setdefault(name, fresh)
    seed = record["seed"]
    row.seeds.add(seed)
    for figure, value in figures.items():
        if value is not None:
            row.figures.setdefault(figure, {})[seed] = value
    # Networks trained side by side share their time; no modality has one of its own.
    if record["seconds_known"] and not record["alone"]:
        row.seconds[seed] = record["seconds"]["train"]
