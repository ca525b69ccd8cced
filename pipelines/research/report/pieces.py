"""What is one table or figure of the paper, before it is written?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from .tables import Table


@dataclass(frozen=True)
class TablePiece:
    """A table.

    Attributes:
        name: of its files, such as "table2".
        table: title, caption and cells.
        numbers: the same for the CSV file, with all decimals.
    """

    name: str
    table: Table
    numbers: list[dict[str, Any]]


@dataclass(frozen=True)
class FigurePiece:
    """A figure.

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
