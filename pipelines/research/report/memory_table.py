"""Table 8: what classifiers cost in memory, and methods in time."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from ....data.errors import InputError
from .pieces import NONE, Cell, TablePiece, lines_of, table_of
from .tables import number_cell

_WORDS = ["method", "bundle"]
_NUMBERS = [
    "step_ms_ratio",
    "step_ms_low",
    "step_ms_high",
    "peak_mb",
    "peak_mb_without_classifiers",
]
COLUMNS = [*_WORDS, *_NUMBERS]
_CAPTION = (
    "Measured by benchmarks/methods.py with each bundle's network on random data. Peak memory: "
    "the largest resident size of a process that trains. Without classifiers: – where the "
    "method needs them, or has none anyway. Time: median of a training step, relative to joint "
    "training without classifiers. The paper's Table 8 is memory of a GPU with other networks "
    "and has no times, so it does not stand beside."
)


def memory_table(name: str, path: Path) -> TablePiece:
    """A row per bundle and method, of what ``benchmarks/methods.py`` wrote.

    Args:
        name: of the files.
        path: its CSV file.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """
    lines = _read(path)
    # Some cells are left empty.
    values = lines[_NUMBERS].apply(pd.to_numeric, errors="coerce").astype(float)
    peak, without = values["peak_mb"], values["peak_mb_without_classifiers"]
    joint = lines["method"] == "joint"
    plain = dict(zip(lines["bundle"][joint], without[joint], strict=True))
    intervals = zip(values["step_ms_low"], values["step_ms_high"], strict=True)
    columns = {
        "bundle, method": [Cell(word) for word in lines["bundle"] + ", " + lines["method"]],
        "peak memory (MB)": _cells(peak, "{:.0f}"),
        "without classifiers (MB)": _cells(without, "{:.0f}"),
        "more than joint without classifiers (MB)": _cells(
            peak - lines["bundle"].map(plain).astype(float), "{:+.0f}"
        ),
        "time of a step": _cells(values["step_ms_ratio"], "{:.2f} ×"),
        "95 % interval": [_interval_cell(low, high) for low, high in intervals],
    }
    table = table_of("Memory with and without classifiers, and time", [_CAPTION], columns)
    return TablePiece(name, table, lines_of(lines[COLUMNS]))


def _cells(values: pd.Series, text: str) -> list[Cell]:
    return [number_cell(value, text) for value in values]


def _interval_cell(low: float, high: float) -> Cell:
    return NONE if math.isnan(low) or math.isnan(high) else Cell(f"{low:.2f} to {high:.2f}")


def _read(path: Path) -> pd.DataFrame:
    try:
        lines = pd.read_csv(path, dtype=str, index_col=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); write it with benchmarks/methods.py"
        ) from error
    missing = [name for name in COLUMNS if name not in lines]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}, as "
            "benchmarks/methods.py writes them"
        )
    return lines
