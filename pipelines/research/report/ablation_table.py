"""Table 6: what each half of CGGM, magnitude and direction, brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .captions import generated_line
from .collect import DataSet, Row
from .measured import TITLES, combined, figures_of, heading, marks_of
from .pieces import Cell, TablePiece, lines_of, table_of
from .published import is_iemocap, paper_table
from .recipe import ONLY, follows_recipe
from .statistics import summarize
from .tables import mean_cells, published_cells

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
_NUMBERS = ["model", "figure", "seeds", "mean", "sd", "published"]


def ablation_table(name: str, data: DataSet, rows: Mapping[str, Row]) -> TablePiece:
    """A row per combination.

    Args:
        name: of the files.
        data: what was trained on.
        rows: by the names of :data:`LABELS`; those that are not there are left out.
    """
    models, figures = list(rows), figures_of(data)
    seeds = [len(row.runs) for row in rows.values()]
    columns = {
        "model": [Cell(LABELS[model]) for model in models],
        "seeds": [Cell(str(count)) for count in seeds],
    }
    runs = combined(rows).reindex(columns=figures)
    changed = {name for change in SETTINGS.values() for name in change}
    published = [
        model
        for model, row in rows.items()
        if is_iemocap(data.name) and follows_recipe(row, data.bundle, changed)
    ]
    numbers: list[dict[str, Any]] = []
    for figure in figures:
        found = _summary(runs[figure], published).reindex(models)
        columns[heading(figure)] = mean_cells(found, figure, seeds)
        if found["published"].notna().any():
            columns[f"{TITLES[figure]}, paper"] = published_cells(found["published"], figure)
        lines = found.dropna(subset="mean").rename_axis("model").reset_index()
        numbers += lines_of(lines.assign(figure=figure).astype({"seeds": int})[_NUMBERS])
    title = f"Gradient magnitude and direction, {data.label}"
    return TablePiece(name, table_of(title, _caption(data), columns), numbers)


def _summary(values: pd.Series, published: list[str]) -> pd.DataFrame:
    """Mean, deviation, seeds and mark of each row that has the figure; the paper's of some."""
    figure = str(values.name)
    found = summarize(values)
    paper = paper_table("table6").get(figure, pd.Series(dtype=float))
    return found.assign(
        mark=marks_of(found["mean"], figure),
        published=paper.reindex(published).reindex(found.index),
    )


def _caption(data: DataSet) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested; ρ and λ are those of the paper's Table 6.",
        *generated_line(data),
        "Mean ± standard deviation over seeds. Bold: best, underlined: second best of a column.",
    ]
    return [*lines, f"Paper: Table 6 of the CGGM paper{ONLY}"] if is_iemocap(data.name) else lines
