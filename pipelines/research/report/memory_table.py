"""Table 8: what do classifiers cost in memory, and methods in time?"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from .pieces import TablePiece
from .tables import NONE, Cell, Table

COLUMNS = (
    "method",
    "bundle",
    "step_ms_ratio",
    "step_ms_low",
    "step_ms_high",
    "peak_mb",
    "peak_mb_without_classifiers",
)
HEAD = [
    "bundle, method",
    "peak memory (MB)",
    "without classifiers (MB)",
    "more than joint without classifiers (MB)",
    "time of a step",
    "95 % interval",
]


def memory_table(name: str, path: Path) -> TablePiece:
    """A row per bundle and method, of what ``benchmarks/methods.py`` wrote.

    Args:
        name: of the files.
        path: its CSV file.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """
    lines = _read(path)
    plain = {
        line["bundle"]: _number(line["peak_mb_without_classifiers"])
        for line in lines
        if line["method"] == "joint"
    }
    rows = [_row(line, plain.get(line["bundle"])) for line in lines]
    caption = [
        "Measured by benchmarks/methods.py with each bundle's network on random data. Peak memory: "
        "the largest resident size of a process that trains. Without classifiers: – where the "
        "method needs them, or has none anyway. Time: median of a training step, relative to joint "
        "training without classifiers. The paper's Table 8 is memory of a GPU with other networks "
        "and has no times, so it does not stand beside.",
    ]
    table = Table("Memory with and without classifiers, and time", caption, list(HEAD), rows)
    return TablePiece(name, table, [{column: line[column] for column in COLUMNS} for line in lines])


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({error}); write it with benchmarks/methods.py"
        ) from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}, as "
            "benchmarks/methods.py writes them"
        )
    return lines


def _row(line: dict[str, Any], plain: float | None) -> list[Cell]:
    peak, without = _number(line["peak_mb"]), _number(line["peak_mb_without_classifiers"])
    ratio, low, high = (_number(line[f"step_ms_{part}"]) for part in ("ratio", "low", "high"))
    more = None if peak is None or plain is None else peak - plain
    return [
        Cell(f"{line['bundle']}, {line['method']}"),
        _cell(peak, ".0f"),
        _cell(without, ".0f"),
        _cell(more, "+.0f"),
        NONE if ratio is None else Cell(f"{ratio:.2f} ×"),
        NONE if low is None or high is None else Cell(f"{low:.2f} to {high:.2f}"),
    ]


def _number(text: str | None) -> float | None:
    """None where the benchmark left the cell empty, or the line is cut short."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _cell(value: float | None, form: str) -> Cell:
    return NONE if value is None else Cell(format(value, form))
