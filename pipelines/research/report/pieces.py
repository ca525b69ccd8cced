"""Tables and figures before they are written: what stands in them and below them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it is the "best" or "second" of its column."""

    text: str
    mark: str = ""


NONE = Cell("–")


@dataclass(frozen=True)
class Table:
    """A table for any format: the first column is text, all others are numbers.

    On a page, a row of one cell is a heading, and a cell may have several lines.
    """

    title: str
    caption: list[str]
    head: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class TablePiece:
    """A table of a report.

    Attributes:
        name: of its files, such as "table2".
        table: title, caption and cells.
        numbers: the same for the CSV file, with all decimals.
    """

    name: str
    table: Table
    numbers: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """Of the table."""
        return self.table.title


@dataclass(frozen=True)
class FigurePiece:
    """A figure of a report.

    Attributes:
        name: of its files, such as "figure2".
        title: what it shows, of which data.
        caption: sentences below it.
        figure: the picture.
        numbers: what is drawn, for the CSV file.
    """

    name: str
    title: str
    caption: list[str]
    figure: Figure
    numbers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class MissingPiece:
    """A table or figure that cannot be made yet.

    Attributes:
        name: as above.
        title: what it would show.
        reason: a sentence.
    """

    name: str
    title: str
    reason: str


Piece = TablePiece | FigurePiece | MissingPiece


def is_extra(piece: Piece) -> bool:
    """Whether the paper shows this for other data than these: ``figure2-food101``."""
    return "-" in piece.name


def lines_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a frame for a CSV file; None where a value is not known."""
    known = frame.astype(object).where(frame.notna(), None)
    names = [str(name) for name in frame]
    return [dict(zip(names, line, strict=True)) for line in known.itertuples(index=False)]


def table_of(title: str, caption: list[str], columns: dict[str, list[Cell]]) -> Table:
    """A table from its columns, by what stands above them."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Table(title, caption, list(columns), rows)
