"""Tables and figures as files: Markdown, LaTeX, CSV, pictures, and a page of all experiments."""

from __future__ import annotations

from pathlib import Path

from ....data.files import write_csv, write_text
from ..experiments.run import slug
from .collect import DataSet, collect
from .drawing import write_figure
from .formats import figure_markdown, html, latex, markdown
from .pieces import FigurePiece, MissingPiece, Piece, TablePiece
from .tables import build, numbers


def write_tables(folder: Path, target: Path) -> list[Path]:
    """Compare the finished runs below a folder; give the files written.

    Raises:
        InputError: there are none, or the files cannot be written.
    """
    pieces = [_comparison(data) for data in collect(folder)]
    written = [path for piece in pieces for path in write_piece(target, piece)]
    page = target / "index.html"
    write_text(page, html("Experiments", [(piece.title, piece) for piece in pieces]))
    return [*written, page]


def write_piece(target: Path, piece: Piece) -> list[Path]:
    """Write a table or figure, and its numbers as CSV; give the files.

    Args:
        target: folder.
        piece: what to write; nothing is written of what is missing.
    """
    if isinstance(piece, MissingPiece):
        return []
    path = target / f"{piece.name}.md"
    if isinstance(piece, FigurePiece):
        others = write_figure(target, piece.name, piece.figure)
        write_text(path, figure_markdown(piece))
    else:
        others = [target / f"{piece.name}.tex"]
        write_text(path, markdown(piece.table))
        write_text(others[0], latex(piece.table))
    lines = target / f"{piece.name}.csv"
    write_csv(lines, piece.numbers)
    return [path, *others, lines]


def _comparison(data: DataSet) -> TablePiece | MissingPiece:
    if not data.rows:
        return MissingPiece("", data.label, f"No run is finished: {'; '.join(data.missing)}.")
    return TablePiece(slug(data.label), build(data), numbers(data))
