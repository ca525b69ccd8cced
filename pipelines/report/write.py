"""How do tables become Markdown, CSV, LaTeX and a page?"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ...data.files import write_csv, write_text
from ..evaluation.outcomes import PLAIN
from ..experiments.run import slug
from .collect import DataSet, collect
from .tables import Cell, Table, build, is_extension, measure, relative_cost

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em;
  color: #1a1a1a; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #333; }
th:first-child, td:first-child { text-align: left; }
.best { font-weight: bold; }
.second { text-decoration: underline; }
p { max-width: 50em; }
"""
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
    write_text(written[-1], page(tables))
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


def page(tables: Sequence[Table]) -> str:
    """One HTML page that needs no other file."""
    parts = []
    for table in tables:
        head = "".join(f"<th>{escape(word)}</th>" for word in table.head)
        rows = "".join(
            f"<tr>{''.join(_html_cell(cell) for cell in row)}</tr>\n" for row in table.rows
        )
        caption = "".join(f"<p>{escape(line)}</p>\n" for line in table.caption)
        parts.append(
            f"<h2>{escape(table.title)}</h2>\n<div class='wide'><table>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n{caption}"
        )
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'>"
        f"<title>Experiments</title>\n<style>{STYLE}</style></head>\n"
        f"<body>\n<h1>Experiments</h1>\n{''.join(parts)}</body>\n</html>\n"
    )


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


def _html_cell(cell: Cell) -> str:
    kind = f" class='{cell.mark}'" if cell.mark else ""
    return f"<td{kind}>{escape(cell.text)}</td>"
