"""The comparison of methods on one data set: its cells, and its numbers with all decimals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ...evaluation.outcomes import PLAIN
from .captions import caption
from .collect import SECONDS, DataSet, Row
from .measured import (
    TITLES,
    digits_of,
    figures_of,
    heading,
    is_extension,
    measure,
    relative_cost,
)
from .pieces import NONE, Cell, Table, lines_of, table_of

_CSV_NAMES = {"difference": "difference_to_joint", "low": "low_95", "high": "high_95"}
_CSV_COLUMNS = [
    *("method", "extension", "figure", "unit", "seeds", "mean", "sd"),
    *_CSV_NAMES.values(),
    *("p", "p_holm", "published", "relative_training_time", "data"),
]


def build(data: DataSet) -> Table:
    """The comparison as text."""
    labels = [row.label for row in data.rows]
    columns = {
        "method": [_label_cell(row, data) for row in data.rows],
        "seeds": [Cell(str(len(row.runs))) for row in data.rows],
    }
    for figure in figures_of(data):
        columns |= _columns(data, figure, measure(data, figure).reindex(labels))
    joint = data.joint
    if joint is not None and not joint.values(SECONDS).empty:
        columns["training time"] = [
            number_cell(relative_cost(row, joint), "{:.2f} ×") for row in data.rows
        ]
    return table_of(f"{data.label}: {data.name}", caption(data), columns)


def numbers(data: DataSet) -> list[dict[str, Any]]:
    """One line per method and figure, with all decimals; None where something is not known."""
    joint, rows = data.joint, {row.label: row for row in data.rows}
    lines = []
    for figure in figures_of(data):
        table = measure(data, figure).rename(columns=_CSV_NAMES).rename_axis("method").reset_index()
        shown = [rows[label] for label in table["method"]]
        table = table.assign(
            extension=[is_extension(row, data) for row in shown],
            figure=figure,
            unit="plain" if figure in PLAIN else "percent",
            relative_training_time=[
                relative_cost(row, joint) if joint else math.nan for row in shown
            ],
            data=data.name,
        )
        lines += lines_of(table[_CSV_COLUMNS])
    return lines


def mean_cells(summary: pd.DataFrame, figure: str, runs: Iterable[int]) -> list[Cell]:
    """Mean ± standard deviation, and over how many of the seeds where it is not all.

    Args:
        summary: ``mean``, ``sd``, ``seeds`` and ``mark`` of each row; NaN where no seed has one.
        figure: its name.
        runs: how many seeds each row has.
    """
    digits = digits_of(figure)
    cells = []
    columns = (summary[name] for name in ("mean", "sd", "seeds", "mark"))
    for mean, sd, seeds, mark, count in zip(*columns, runs, strict=True):
        if math.isnan(mean):
            cells.append(NONE)
            continue
        spread = "" if math.isnan(sd) else f" ± {sd:.{digits}f}"
        some = f" ({seeds:.0f} of {count})" if seeds < count else ""
        cells.append(Cell(f"{mean:.{digits}f}{spread}{some}", mark))
    return cells


def published_cells(values: Iterable[float], figure: str) -> list[Cell]:
    """What the paper has, with as many decimals as ours."""
    return [number_cell(value, f"{{:.{digits_of(figure)}f}}") for value in values]


def number_cell(value: float, text: str) -> Cell:
    """A number in a text such as "{:.2f} ×"; NONE for NaN."""
    return NONE if math.isnan(value) else Cell(text.format(value))


def _columns(data: DataSet, figure: str, measured: pd.DataFrame) -> dict[str, list[Cell]]:
    """The columns of a figure, by what stands above them."""
    runs = [len(row.runs) for row in data.rows]
    columns = {heading(figure): mean_cells(measured, figure, runs)}
    if data.is_compared:
        columns[f"{TITLES[figure]}: difference to joint"] = [
            _difference_cell(line, digits_of(figure)) for line in lines_of(measured)
        ]
    if measured["published"].notna().any():
        columns[f"{TITLES[figure]}, paper"] = published_cells(measured["published"], figure)
    return columns


def _label_cell(row: Row, data: DataSet) -> Cell:
    return Cell(f"{row.label} †" if is_extension(row, data) else row.label)


def _difference_cell(line: dict[str, Any], digits: int) -> Cell:
    if line["difference"] is None:
        return NONE
    text = _signed(line["difference"], digits)
    if line["low"] is not None:
        text += f" [{_signed(line['low'], digits)}, {_signed(line['high'], digits)}]"
    if line["p_holm"] is not None:
        text += ", p < 0.001" if line["p_holm"] < 0.001 else f", p = {line['p_holm']:.3f}"
    return Cell(text)


def _signed(value: float, digits: int) -> str:
    """With its sign, but no minus before what reads zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
