"""What is known of each row and figure: mean, difference to joint training, the paper's value?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...evaluation.outcomes import LOWER_IS_BETTER, PLAIN
from ...methods import CATALOGUE
from ..experiments.bundles import open_bundle
from .collect import ALONE, OTHER, DataSet, Row
from .published import published
from .statistics import Difference, Summary, difference, holm, summarize

# The figures that tables show, in the order of their columns.
TITLES = {
    "accuracy": "Acc",
    "f1_weighted": "F1",
    "f1_macro": "F1, macro",
    "acc2_nonpositive_positive": "Acc-2",
    "acc7": "Acc-7",
    "f1_nonpositive_positive": "F1",
    "mae": "MAE",
    "corr": "Corr",
    **{f"volumetric/{region}": f"{region}, volume" for region in ("WT", "TC", "ET")},
    "volumetric/mean": "Avg., volume",
    **{f"tumor_slices/{region}": f"{region}, slices" for region in ("WT", "TC", "ET")},
    "tumor_slices/mean": "Avg., slices",
}


@dataclass(frozen=True)
class Measured:
    """One figure of one row.

    Attributes:
        row: whose it is.
        figure: a key of :data:`TITLES`.
        summary: over the row's seeds.
        difference: to joint training; None for rows that are not compared with it.
        p_holm: its p-value, corrected for the number of rows that are compared.
        published: what the paper has, where the data are the paper's.
        mark: "best", "second" or "".
    """

    row: Row
    figure: str
    summary: Summary
    difference: Difference | None
    p_holm: float | None
    published: float | None
    mark: str


def measure(data: DataSet) -> dict[tuple[str, str], Measured]:
    """Everything that is known, by row label and figure."""
    return {
        (measured.row.label, figure): measured
        for figure in figures_of(data)
        for measured in _measure(data, figure)
    }


def _measure(data: DataSet, figure: str) -> list[Measured]:
    summaries = {row.label: summarize(row.figures.get(figure, {}).values()) for row in data.rows}
    known = {label: summary for label, summary in summaries.items() if summary is not None}
    rows = [row for row in data.rows if row.label in known]
    differences = {row.label: _to_joint(row, data.joint, figure) for row in rows}
    tested = {label: found.p for label, found in differences.items() if found is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    marks = marks_of(known, figure)
    return [
        Measured(
            row,
            figure,
            known[row.label],
            differences[row.label],
            corrected.get(row.label),
            _published(row, data).get(figure),
            marks[row.label],
        )
        for row in rows
    ]


def figures_of(data: DataSet) -> list[str]:
    """The columns: figures that any row has, in their order."""
    return [name for name in TITLES if any(name in row.figures for row in data.rows)]


def heading(figure: str) -> str:
    """Title of a column, with the unit."""
    return TITLES[figure] if figure in PLAIN else f"{TITLES[figure]} (%)"


def digits_of(figure: str) -> int:
    """Decimals: shares are in percent."""
    return 3 if figure in PLAIN else 2


def marks_of(found: Mapping[str, Summary], figure: str) -> dict[str, str]:
    """Which rows are best and second; rows that read the same share the mark."""
    shown = {label: round(summary.mean, digits_of(figure)) for label, summary in found.items()}
    places = sorted(set(shown.values()), reverse=figure not in LOWER_IS_BETTER)
    marks = dict(zip(places, ("best", "second"), strict=False)) if len(places) > 1 else {}
    return {label: marks.get(value, "") for label, value in shown.items()}


def relative_cost(row: Row, joint: Row) -> float | None:
    """Seconds of training over those of joint training, summed over the seeds that both have."""
    seeds = set(row.seconds) & set(joint.seconds)
    below = sum(joint.seconds[seed] for seed in seeds)
    return sum(row.seconds[seed] for seed in seeds) / below if below else None


def is_extension(row: Row, data: DataSet) -> bool:
    """Whether the method's paper has no such task, or not so many modalities."""
    method = CATALOGUE.get(row.method)
    if method is None or row.kind == ALONE:
        return False
    bundle = open_bundle(data.bundle)
    return bool(method.beyond_paper(bundle.task, len(row.modalities or bundle.modalities)))


def _to_joint(row: Row, joint: Row | None, figure: str) -> Difference | None:
    if joint is None or row.kind != OTHER:
        return None
    return difference(row.figures[figure], joint.figures.get(figure, {}))


def _published(row: Row, data: DataSet) -> Mapping[str, float]:
    """The paper's figures for a row; none for what the paper has not trained."""
    paper = published(data.name)
    if paper is None:
        return {}
    if row.kind == ALONE:
        return paper.rows.get(row.label, {})
    fewer = row.modalities is not None and set(row.modalities) != set(
        open_bundle(data.bundle).modalities
    )
    # "cggm, other rule" has none beside a row that is plainly "cggm".
    is_variant = row.label != row.method and any(r.label == row.method for r in data.rows)
    return {} if fewer or is_variant else paper.rows.get(row.method, {})
