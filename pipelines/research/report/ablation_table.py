"""Table 6: what does each half of CGGM, magnitude and direction, bring?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .captions import generated_line
from .collect import DataSet, Row
from .measured import TITLES, figures_of, heading, marks_of
from .pieces import TablePiece
from .published import is_iemocap
from .published_rest import ABLATION
from .statistics import Summary, summarize
from .tables import Cell, Table, mean_cell, published_cell

# As in the paper: rho None is no modulation of the magnitude, lambda 0 none of the direction.
LABELS = {
    "joint": "joint training",
    "magnitude": "magnitude only (ρ = 1.0, λ = 0)",
    "direction": "direction only (ρ = none, λ = 0.1)",
    "both": "magnitude and direction (ρ = 1.0, λ = 0.1)",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "magnitude": {"rho": 1.0, "direction": "none"},
    "direction": {"rule": "none", "lam": 0.1},
    "both": {"rho": 1.0, "lam": 0.1},
}


def ablation_table(name: str, data: DataSet, rows: Mapping[str, Row]) -> TablePiece:
    """A row per combination.

    Args:
        name: of the files.
        data: what was trained on.
        rows: by the names of :data:`LABELS`; those that are not there are left out.
    """
    columns = {
        "model": [Cell(LABELS[key]) for key in rows],
        "seeds": [Cell(str(len(row.seeds))) for row in rows.values()],
    }
    numbers: list[dict[str, Any]] = []
    for figure in figures_of(data):
        found = {k: summarize(row.figures.get(figure, {}).values()) for k, row in rows.items()}
        marks = marks_of({k: s for k, s in found.items() if s is not None}, figure)
        columns[heading(figure)] = [
            mean_cell(found[key], figure, len(row.seeds), marks.get(key, ""))
            for key, row in rows.items()
        ]
        paper = {k: ABLATION[k].get(figure) for k in rows} if is_iemocap(data.name) else {}
        if paper:
            columns[f"{TITLES[figure]}, paper"] = [published_cell(paper[k], figure) for k in rows]
        numbers += [_line(k, figure, s, paper.get(k)) for k, s in found.items() if s is not None]
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    title = f"Gradient magnitude and direction, {data.label}"
    table = Table(title, _caption(data), list(columns), cells)
    return TablePiece(name, table, numbers)


def _line(key: str, figure: str, found: Summary, published: float | None) -> dict[str, Any]:
    line = {"model": key, "figure": figure, "seeds": found.count, "mean": found.mean}
    return {**line, "sd": found.sd, "published": published}


def _caption(data: DataSet) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested; ρ and λ are those of the paper's Table 6.",
        *generated_line(data),
        "Mean ± standard deviation over seeds. Bold: best, underlined: second best of a column.",
    ]
    return [*lines, "Paper: Table 6 of the CGGM paper."] if is_iemocap(data.name) else lines
