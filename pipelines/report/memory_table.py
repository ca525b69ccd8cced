"""Table 8: what do classifiers cost in memory, and methods in time?"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from .pieces import TablePiece
from .tables import Cell, Table

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
    """Read what ``benchmarks/methods.py`` wrote.

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
        "the largest resident size of a process that trains; – where a method cannot do without "
        "classifiers, or has none. Time: median of a training step, relative to joint training "
        "without classifiers. The paper's Table 8 is memory of a GPU with other networks and has "
        "no times, so it does not stand beside.",
    ]
    table = Table("Memory with and without classifiers, and time", caption, list(HEAD), rows)
    return TablePiece(name, table, [dict(line) for line in lines])


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with open(path, newline="") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); write it with benchmarks/methods.py"
        ) from error
    missing = [name for name in COLUMNS if not lines or name not in lines[0]]
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
    texts = [
        f"{line['bundle']}, {line['method']}",
        _text(peak, ".0f"),
        _text(without, ".0f"),
        _text(more, "+.0f"),
        "–" if ratio is None else f"{ratio:.2f} ×",
        "–" if low is None or high is None else f"{low:.2f} to {high:.2f}",
    ]
    return [Cell(text) for text in texts]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
