"""Tables as Markdown and LaTeX, and reports as one HTML page, by the templates beside this file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from .drawing import as_png
from .pieces import Cell, FigurePiece, Piece, Table

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "×": r"$\times$",
        "†": r"$\dagger$",
        "ρ": r"$\rho$",
        "λ": r"$\lambda$",
        "–": "--",
        "<": "$<$",
        ">": "$>$",
        "|": r"\textbar{}",
        # After the end of a row these two would be taken for options of the line break.
        "[": "{[}",
        "*": "{*}",
    }
)
_LATEX_MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
_MARKDOWN_MARKS = {"best": "**%s**", "second": "<u>%s</u>", "": "%s"}


def markdown(table: Table) -> str:
    """A heading, the table, the caption."""
    return _TEMPLATES.get_template("table.md").render(table=table)


def latex(table: Table) -> str:
    """A floating table; needs the packages booktabs and graphicx."""
    return _TEMPLATES.get_template("table.tex").render(table=table)


def figure_markdown(piece: FigurePiece) -> str:
    """A heading, the picture that lies beside, the caption."""
    return _TEMPLATES.get_template("figure.md").render(figure=piece)


def html(
    title: str,
    sections: Sequence[tuple[str, Piece]],
    *,
    extra: Sequence[tuple[str, Piece]] = (),
    links: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> str:
    """A page that needs no other file.

    Args:
        title: of the page.
        sections: headings with their tables and figures.
        extra: likewise of other data than the paper's, shown last.
        links: names of tables and figures with the words at the top that lead to them.
        notes: sentences at the top.
    """
    return _TEMPLATES.get_template("page.html").render(
        title=title, sections=sections, extra=extra, links=links, notes=notes
    )


def tex(text: str) -> str:
    """Escape a text for LaTeX."""
    return text.translate(_LATEX)


def _latex_cell(cell: Cell) -> str:
    return _LATEX_MARKS[cell.mark] % tex(cell.text)


def _markdown_cell(cell: Cell) -> str:
    return _MARKDOWN_MARKS[cell.mark] % cell.text.replace("|", "\\|")


def _base64_png(figure: Figure) -> str:
    return base64.b64encode(as_png(figure)).decode()


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "tex": tex,
    "latex_cell": _latex_cell,
    "markdown_cell": _markdown_cell,
    "base64_png": _base64_png,
}
