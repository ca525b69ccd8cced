"""How do tables and figures become one HTML page that needs no other file?"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from .drawing import as_png
from .pieces import FigurePiece, MissingPiece, TablePiece
from .tables import Cell, Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 85em; padding: 0 1em;
  color: #1a1a1a; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #333; white-space: normal; vertical-align: bottom; }
.caption { font-size: 13px; color: #333; max-width: 65em; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
.best { font-weight: bold; }
.second { text-decoration: underline; }
p, ul { max-width: 50em; }
img { max-width: 100%; height: auto; }
h2 { margin-top: 2.2em; }
nav a { margin-right: .9em; white-space: nowrap; }
.missing { color: #555; font-style: italic; }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """The page, from sections that are HTML already."""
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{''.join(parts)}</body>\n</html>\n"
    )


def table_section(table: Table, *, name: str = "", number: str = "") -> str:
    """Heading, table and caption.

    Args:
        table: what to show.
        name: of the link to it.
        number: "Table 2".
    """
    head = "".join(f"<th scope='col'>{escape(word)}</th>" for word in table.head)
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>\n" for row in table.rows)
    return (
        f"{_heading(table.title, name, number)}<div class='wide'><table>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
        f"{_caption(table.caption)}"
    )


def piece_section(piece: TablePiece | FigurePiece | MissingPiece, number: str) -> str:
    """A section of the paper's page."""
    if isinstance(piece, TablePiece):
        return table_section(piece.table, name=piece.name, number=number)
    heading = _heading(piece.title, piece.name, number)
    if isinstance(piece, MissingPiece):
        return f"{heading}<p class='missing'>{escape(piece.reason)}</p>\n"
    picture = base64.b64encode(as_png(piece.figure)).decode()
    about = escape(f"{piece.title}. {' '.join(piece.caption)}", quote=True)
    # Letters are as large in a wide figure as in a narrow one.
    style = f"width: {piece.figure.get_figwidth():.1f}in"
    source = f"data:image/png;base64,{picture}"
    return f'{heading}<img style="{style}" alt="{about}" src="{source}">\n{_caption(piece.caption)}'


def _heading(title: str, name: str, number: str) -> str:
    anchor = f" id='{escape(name)}'" if name else ""
    return f"<h2{anchor}>{escape(f'{number}. {title}' if number else title)}</h2>\n"


def _caption(lines: Sequence[str]) -> str:
    return f"<p class='caption'>{escape(' '.join(lines))}</p>\n"


def _cell(cell: Cell) -> str:
    kind = f" class='{cell.mark}'" if cell.mark else ""
    return f"<td{kind}>{escape(cell.text)}</td>"
