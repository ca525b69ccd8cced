"""What stands in each cell of the comparison of methods?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .captions import caption
from .collect import OTHER, DataSet, Row
from .measured import (
    TITLES,
    Measured,
    digits_of,
    figures_of,
    heading,
    is_extension,
    measure,
    relative_cost,
)
from .statistics import Summary


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it is the "best" or "second" of its column."""

    text: str
    mark: str = ""


NONE = Cell("–")


@dataclass(frozen=True)
class Table:
    """A table for any format: the first column is text, all others are numbers."""

    title: str
    caption: list[str]
    head: list[str]
    rows: list[list[Cell]]


def build(data: DataSet) -> Table:
    """The comparison as text."""
    columns = {
        "method": [_label_cell(row, data) for row in data.rows],
        "seeds": [Cell(str(len(row.seeds))) for row in data.rows],
    }
    found = measure(data)
    for figure in figures_of(data):
        cells = [found.get((row.label, figure)) for row in data.rows]
        columns |= _columns(data, figure, cells)
    joint = data.joint
    if joint is not None and joint.seconds:
        columns["training time"] = [_cost_cell(row, joint) for row in data.rows]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Table(f"{data.label}: {data.name}", caption(data), list(columns), rows)


def mean_cell(found: Summary | None, figure: str, seeds: int, mark: str = "") -> Cell:
    """Mean ± standard deviation, and over how many of the seeds where it is not all.

    Args:
        found: None where no seed has the figure.
        figure: its name.
        seeds: how many were run.
        mark: of the cell.
    """
    if found is None:
        return NONE
    digits = digits_of(figure)
    spread = "" if found.sd is None else f" ± {found.sd:.{digits}f}"
    some = f" ({found.count} of {seeds})" if found.count < seeds else ""
    return Cell(f"{found.mean:.{digits}f}{spread}{some}", mark)


def published_cell(value: float | None, figure: str) -> Cell:
    """What the paper has, with as many decimals as ours."""
    return NONE if value is None else Cell(f"{value:.{digits_of(figure)}f}")


def _columns(data: DataSet, figure: str, cells: Sequence[Measured | None]) -> dict[str, list[Cell]]:
    """The columns of a figure, by what stands above them."""
    columns = {heading(figure): [_mean_cell(cell) for cell in cells]}
    if data.joint is not None and any(row.kind == OTHER for row in data.rows):
        columns[f"{TITLES[figure]}: difference to joint"] = [_difference_cell(c) for c in cells]
    if any(cell is not None and cell.published is not None for cell in cells):
        columns[f"{TITLES[figure]}, paper"] = [
            published_cell(None if cell is None else cell.published, figure) for cell in cells
        ]
    return columns


def _label_cell(row: Row, data: DataSet) -> Cell:
    return Cell(f"{row.label} †" if is_extension(row, data) else row.label)


def _mean_cell(measured: Measured | None) -> Cell:
    if measured is None:
        return NONE
    seeds = len(measured.row.seeds)
    return mean_cell(measured.summary, measured.figure, seeds, measured.mark)


def _difference_cell(measured: Measured | None) -> Cell:
    found = None if measured is None else measured.difference
    if measured is None or found is None:
        return NONE
    digits = digits_of(measured.figure)
    text = _signed(found.mean, digits)
    if found.interval is not None:
        text += f" [{', '.join(_signed(end, digits) for end in found.interval)}]"
    if measured.p_holm is not None:
        text += ", p < 0.001" if measured.p_holm < 0.001 else f", p = {measured.p_holm:.3f}"
    return Cell(text)


def _signed(value: float, digits: int) -> str:
    """With its sign, but no minus before what reads zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _cost_cell(row: Row, joint: Row) -> Cell:
    ratio = relative_cost(row, joint)
    return NONE if ratio is None else Cell(f"{ratio:.2f} ×")
