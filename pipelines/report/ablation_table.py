"""Table 6: what does each half of CGGM, magnitude and direction, bring?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation.outcomes import PLAIN
from .collect import DataSet, Row
from .pieces import TablePiece
from .published import published
from .published_rest import ABLATION
from .statistics import Summary, summarize
from .tables import TITLES, Cell, Table, figures_of, generated_line, marks_of, mean_text

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
    is_papers = data.bundle == "iemocap" and published(data.name) is not None
    figures = [figure for figure in figures_of(data) if figure != "f1_macro"]
    head, cells = ["model", "seeds"], [[Cell(LABELS[key])] for key in rows]
    for line, row in zip(cells, rows.values(), strict=True):
        line.append(Cell(str(len(row.seeds))))
    numbers: list[dict[str, Any]] = []
    for figure in figures:
        head.append(TITLES[figure] if figure in PLAIN else f"{TITLES[figure]} (%)")
        head += [f"{TITLES[figure]}, paper"] if is_papers else []
        summaries = {
            k: summarize(list(r.figures.get(figure, {}).values())) for k, r in rows.items()
        }
        marks = marks_of({k: s.mean for k, s in summaries.items() if s is not None}, figure)
        for line, (key, summary) in zip(cells, summaries.items(), strict=True):
            theirs = ABLATION[key].get(figure) if is_papers else None
            line.append(Cell(mean_text(summary, figure), marks.get(key, "")))
            line += [Cell("–" if theirs is None else f"{theirs:.2f}")] if is_papers else []
            numbers += _numbers(key, figure, summary, theirs)
    title = f"Gradient magnitude and direction, {data.label}"
    return TablePiece(name, Table(title, _caption(data, is_papers), head, cells), numbers)


def _numbers(
    key: str, figure: str, summary: Summary | None, theirs: float | None
) -> list[dict[str, Any]]:
    if summary is None:
        return []
    sd = "" if summary.sd is None else summary.sd
    line = {"model": key, "figure": figure, "seeds": summary.count, "mean": summary.mean, "sd": sd}
    return [line | {"published": "" if theirs is None else theirs}]


def _caption(data: DataSet, is_papers: bool) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested; ρ and λ are those of the paper's Table 6.",
        *generated_line(data),
        "Mean ± standard deviation over seeds. Bold: best, underlined: second best of a column.",
    ]
    return [*lines, "Paper: Table 6 of the CGGM paper."] if is_papers else lines
