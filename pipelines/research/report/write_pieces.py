"""The paper's tables and figures: each as files, and all on one page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ....data.files import write_text
from .formats import html
from .pieces import Piece, is_extra
from .write import write_piece


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
        write_piece(target, piece)
    headed = [(f"{number_of(piece.name)}. {piece.title}", piece) for piece in pieces]
    sections = [(heading, piece) for heading, piece in headed if not is_extra(piece)]
    extra = [(f"As {heading}", piece) for heading, piece in headed if is_extra(piece)]
    links = [(piece.name, number_of(piece.name) + _data_of(piece.name)) for piece in pieces]
    page = target / "index.html"
    write_text(page, html(title, sections, extra=extra, links=links, notes=notes))
    return page


def number_of(name: str) -> str:
    """What the paper calls it.

    >>> number_of("table4_mosi"), number_of("figure2-brats")
    ('Table 4', 'Figure 2')
    """
    match = re.match(r"(table|figure)(\d+)", name)
    return f"{match[1].capitalize()} {match[2]}" if match else name


def _data_of(name: str) -> str:
    data = re.sub(r"^\w*?\d+[-_]?", "", name)
    return f" ({data})" if data else ""
