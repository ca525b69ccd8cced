"""How do tables become Markdown, CSV and LaTeX?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.files import write_csv, write_text
from ..evaluation.outcomes import PLAIN
from ..experiments.run import slug
from .collect import DataSet, collect
from .page import document, table_section
from .tables import Cell, Table, build, is_extension, measure, relative_cost

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
}


def write_tables(folder: Path, target: Path) -> list[Path]:
    """Compare the finished runs below a folder; give the files written.

    Raises:
        InputError: there are none, or the files cannot be written.
    """
    sets = collect(folder)
    written = []
    tables = []
    for data in sets:
        table = build(data)
        tables.append(table)
        for suffix, text in (("md", markdown(table)), ("tex", latex(table))):
            written.append(target / f"{slug(data.label)}.{suffix}")
            write_text(written[-1], text)
        written.append(target / f"{slug(data.label)}.csv")
        write_csv(written[-1], numbers(data))
    written.append(target / "index.html")
    write_text(written[-1], document("Experiments", [table_section(table) for table in tables]))
    return written


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
    """One line per method and figure, with all decimals."""
    lines = []
    for measured in measure(data).values():
        found, row = measured.difference, measured.row
        low, high = (found.interval if found and found.interval else None) or ("", "")
        lines.append(
            {
                "method": row.label,
                "extension": is_extension(row, data),
                "figure": measured.figure,
                "unit": "plain" if measured.figure in PLAIN else "percent",
                "seeds": measured.summary.count,
                "mean": measured.summary.mean,
                "sd": _known(measured.summary.sd),
                "difference_to_joint": _known(found and found.mean),
                "low_95": low,
                "high_95": high,
                "p": _known(found and found.p),
                "p_holm": _known(measured.p_holm),
                "published": _known(measured.published),
                "relative_training_time": _known(data.joint and relative_cost(row, data.joint)),
                "data": data.name,
            }
        )
    return lines


def _known(value: float | None) -> float | str:
    return "" if value is None else value
