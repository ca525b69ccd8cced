"""How are the paper's tables and figures written: each as files, and all on one page?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ....data.files import write_csv, write_text
from .drawing import write_figure
from .page import document, piece_section
from .pieces import FigurePiece, Piece, TablePiece, is_extra
from .write import write_table


def write_pieces(target: Path, title: str, pieces: Sequence[Piece], notes: Sequence[str]) -> Path:
    """Write all files; those that earlier calls left stay. Give the page.

    Args:
        target: folder of the report.
        title: of the page.
        pieces: in the order of the page; those of other data than the paper's come last.
        notes: sentences at the top.

    Raises:
        InputError: the files cannot be written.
    """
    for piece in pieces:
        _write(target, piece)
    page = target / "index.html"
    write_text(page, document(title, _sections(pieces, notes)))
    return page


def number_of(name: str) -> str:
    """What the paper calls it.

    >>> number_of("table4_mosi"), number_of("figure2-brats")
    ('Table 4', 'Figure 2')
    """
    match = re.match(r"(table|figure)(\d+)", name)
    return f"{match[1].capitalize()} {match[2]}" if match else name


def _write(target: Path, piece: Piece) -> None:
    if isinstance(piece, TablePiece):
        write_table(target, piece.name, piece.table, piece.numbers)
    elif isinstance(piece, FigurePiece):
        write_figure(target, piece.name, piece.figure)
        text = "\n\n".join(
            [f"# {piece.title}", f"![{piece.title}]({piece.name}.png)", *piece.caption]
        )
        write_text(target / f"{piece.name}.md", f"{text}\n")
        write_csv(target / f"{piece.name}.csv", piece.numbers)


def _sections(pieces: Sequence[Piece], notes: Sequence[str]) -> list[str]:
    links = [f"<a href='#{p.name}'>{number_of(p.name)}{_of(p.name)}</a>" for p in pieces]
    parts = [f"<p>{escape(note)}</p>\n" for note in notes]
    parts.append(f"<nav>{' '.join(links)}</nav>\n")
    parts += [piece_section(p, number_of(p.name)) for p in pieces if not is_extra(p)]
    extra = [piece_section(p, f"As {number_of(p.name)}") for p in pieces if is_extra(p)]
    return [*parts, *(["<h1>The same for other data</h1>\n"] if extra else []), *extra]


def _of(name: str) -> str:
    data = re.sub(r"^\w*?\d+[-_]?", "", name)
    return f" ({escape(data)})" if data else ""
