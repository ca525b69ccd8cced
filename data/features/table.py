"""The samples of a feature set, and what samples.csv says of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, nearest, some
from ..files import write_csv
from ..split_file import PARTS
from ..tables import read_rows
from .header import HEADER

SAMPLES = "samples.csv"
COLUMNS = ("id", "label", "split", "group")
LABELS = ("required", "optional")
LARGEST = 1e15  # of a label: the square of an error still is a number of 32 bits

Label = int | float | None


@dataclass
class SampleTable:
    """What samples.csv says; dictionaries are keyed by id."""

    ids: list[str] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)


def write_samples(folder: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write samples.csv.

    Args:
        folder: of the feature set; made if missing.
        rows: of each sample its "id" and, where known, "label" (class name or number), "split"
            and "group".

    Returns:
        The file.

    Raises:
        InputError: an id is empty or comes twice, or the file cannot be written.
    """
    rows = list(rows)
    path = Path(folder) / SAMPLES
    _refuse_bad_ids([str(row.get("id", "")) for row in rows], path)
    write_csv(path, rows, COLUMNS)
    return path


def read_samples(
    folder: str | Path, header: Mapping[str, Any], *, labels: str = "required"
) -> SampleTable:
    """Read samples.csv.

    Args:
        folder: of the feature set.
        header: its dataset.json.
        labels: "required", or "optional" where an empty label is None.

    Raises:
        InputError: the table cannot be read; an id comes twice; a label is missing, of no known
            class or not a finite number; a class has no sample; a split is not train, val or test.
    """
    if labels not in LABELS:
        raise InputError(f"labels is {labels!r}; expected one of {', '.join(LABELS)}")
    path = Path(folder) / SAMPLES
    rows = _rows(path)
    ids = [row["id"] for row in rows]
    _refuse_bad_ids(ids, path)
    texts = {row["id"]: row["label"].strip() for row in rows}
    unlabeled = [name for name, text in texts.items() if not text]
    if unlabeled and labels == "required":
        raise InputError(
            f"{path}: {len(unlabeled):,} samples have no label: {some(unlabeled)}; label them or "
            "leave them out (only inference takes samples without label)"
        )
    return SampleTable(
        ids,
        _classes_of(texts, header["classes"], path, labels == "required")
        if header["task"] == "classification"
        else _values_of(texts, path),
        _splits_of(rows, path),
        {row["id"]: row["group"] or row["id"] for row in rows},
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path.parent} has no {SAMPLES}; write it again")
    rows = read_rows(
        path, COLUMNS[:2], remedy="it needs id and label, and may have split and group"
    )
    if not rows:
        raise InputError(f"{path} lists no sample; expected at least one")
    return [dict.fromkeys(COLUMNS, "") | row for row in rows]


def _refuse_bad_ids(ids: list[str], path: Path) -> None:
    if not all(ids):
        raise InputError(f"{path}: {ids.count(''):,} samples have no id; give each its own")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(
            f"{path}: {len(twice):,} ids come more than once: {some(twice)}; ids must be unique"
        )


def _classes_of(
    texts: Mapping[str, str], classes: Sequence[str], path: Path, all_needed: bool
) -> dict[str, Label]:
    number = {name: index for index, name in enumerate(classes)}
    unknown = {name: text for name, text in texts.items() if text and text not in number}
    if unknown:
        raise InputError(
            f"{path}: {len(unknown):,} samples have labels that are no class of {HEADER}: "
            f"{some([f'{name} is {text!r}' for name, text in unknown.items()])}"
            f"{nearest(next(iter(unknown.values())), classes)}; the classes are {some(classes)}"
        )
    unused = [name for name in classes if name not in set(texts.values())]
    if unused and all_needed:
        raise InputError(
            f"{path}: no sample is of these classes of {HEADER}: {some(unused)}; add samples, or "
            "take the classes out"
        )
    return {name: number[text] if text else None for name, text in texts.items()}


def _values_of(texts: Mapping[str, str], path: Path) -> dict[str, Label]:
    values = {name: _number(text) if text else None for name, text in texts.items()}
    bad = [
        f"{name} is {texts[name]!r}"
        for name, value in values.items()
        if value is not None and not math.isfinite(value)
    ]
    if bad:
        raise InputError(
            f"{path}: the labels of {len(bad):,} samples are no finite numbers: {some(bad)}; mend "
            "them or leave the samples out"
        )
    large = [f"{name} is {texts[name]}" for name, value in values.items() if _is_large(value)]
    if large:
        raise InputError(
            f"{path}: the labels of {len(large):,} samples are beyond {LARGEST:g}: {some(large)}; "
            "give them in another unit, or mend them"
        )
    return dict(values)


def _is_large(value: float | None) -> bool:
    return value is not None and abs(value) > LARGEST


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan  # Python reads 1_5 as 15
    except ValueError:
        return math.nan


def _splits_of(rows: Sequence[Mapping[str, str]], path: Path) -> dict[str, str]:
    splits = {row["id"]: row["split"].strip() for row in rows}
    used = {name for name, part in splits.items() if part}
    bad = [f"{name} is {splits[name]!r}" for name in splits if splits[name] not in ("", *PARTS)]
    if bad:
        raise InputError(
            f"{path}: the split of {len(bad):,} samples is unknown: {some(bad)}; expected one of "
            f"{', '.join(PARTS)}"
        )
    if used and len(used) < len(splits):
        without = [name for name in splits if name not in used]
        raise InputError(
            f"{path}: {len(without):,} samples have no split, the others do: {some(without)}; give "
            "all of them one, or none"
        )
    return splits if used else {}
