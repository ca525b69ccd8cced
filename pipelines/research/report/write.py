"""How do tables become Markdown, CSV and LaTeX?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....data.files import write_csv, write_text
from ...evaluation.outcomes import PLAIN
from ..experiments.run import slug
from .collect import DataSet, collect
from .measured import Measured, is_extension, measure, relative_cost
from .page import document, piece_section, table_section
from .pieces import MissingPiece
from .tables import Cell, Table, build

_LATEX = {
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


def write_tables(folder: Path, target: Path) -> list[Path]:
    """Compare the finished runs below a folder; give the files written.

    Raises:
        InputError: there are none, or the files cannot be written.
    """
    written: list[Path] = []
    sections = []
    for data in collect(folder):
        if not data.rows:
            reason = f"No run is finished: {'; '.join(data.missing)}."
            sections.append(piece_section(MissingPiece("", data.label, reason), ""))
            continue
        table = build(data)
        sections.append(table_section(table))
        written += write_table(target, slug(data.label), table, numbers(data))
    page = target / "index.html"
    write_text(page, document("Experiments", sections))
    return [*written, page]


def write_table(
    target: Path, name: str, table: Table, lines: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write one table in each format; give the files.

    Args:
        target: folder.
        name: of the files, without their endings.
        table: what Markdown and LaTeX show.
        lines: what the CSV file holds, with all decimals.
    """
    paths = [target / f"{name}.{suffix}" for suffix in ("md", "tex", "csv")]
    write_text(paths[0], markdown(table))
    write_text(paths[1], latex(table))
    write_csv(paths[2], lines)
    return paths


def markdown(table: Table) -> str:
    """A heading, the table, the caption."""

    def text(cell: Cell) -> str:
        plain = cell.text.replace("|", "\\|")
        marks = {"best": ("**", "**"), "second": ("<u>", "</u>")}
        before, after = marks.get(cell.mark, ("", ""))
        return f"{before}{plain}{after}"

    lines = [f"# {table.title}", "", f"| {' | '.join(table.head)} |"]
    lines.append("|---|" + "---:|" * (len(table.head) - 1))
    lines += [f"| {' | '.join(text(cell) for cell in row)} |" for row in table.rows]
    return "\n".join([*lines, "", *table.caption, ""])


def latex(table: Table) -> str:
    """A floating table; needs the packages booktabs and graphicx."""

    def text(cell: Cell) -> str:
        plain = tex(cell.text)
        command = {"best": "textbf", "second": "underline"}.get(cell.mark)
        return f"\\{command}{{{plain}}}" if command else plain

    rows = [" & ".join(text(cell) for cell in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs, graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(' '.join([table.title + '.', *table.caption]))}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            " & ".join(tex(word) for word in table.head) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def tex(text: str) -> str:
    """Escape a text for LaTeX."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def numbers(data: DataSet) -> list[dict[str, Any]]:
    """One line per method and figure, with all decimals; empty where something is not known."""
    return [_line(measured, data) for measured in measure(data).values()]


def _line(measured: Measured, data: DataSet) -> dict[str, Any]:
    found, row = measured.difference, measured.row
    low, high = found.interval if found and found.interval else (None, None)
    return {
        "method": row.label,
        "extension": is_extension(row, data),
        "figure": measured.figure,
        "unit": "plain" if measured.figure in PLAIN else "percent",
        "seeds": measured.summary.count,
        "mean": measured.summary.mean,
        "sd": measured.summary.sd,
        "difference_to_joint": found and found.mean,
        "low_95": low,
        "high_95": high,
        "p": found and found.p,
        "p_holm": measured.p_holm,
        "published": measured.published,
        "relative_training_time": data.joint and relative_cost(row, data.joint),
        "data": data.name,
    }
