"""Table 5: how good are single modalities after unimodal training, joint training and CGGM?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation.outcomes import PLAIN
from ..experiments.bundles import open_bundle
from .collect import DataSet
from .pieces import TablePiece
from .published import published
from .published_rest import CLASSIFIERS
from .statistics import Summary, summarize
from .tables import TITLES, Cell, Table, digits_of, generated_line, marks_of, mean_text

# The figure of each task; of a segmentation what validation chooses by.
FIGURES = {
    "classification": "accuracy",
    "regression": "mae",
    "segmentation": "volumetric/mean",
}
# How a modality was trained, and what its column is called.
COLUMNS = {
    "unimodal": "unimodal training",
    "joint": "classifier, joint training",
    "cggm": "classifier, CGGM",
}
# How trained, then modality, then seed.
Measured = Mapping[str, Mapping[str, Mapping[int, float]]]


def figure_of(bundle: str) -> str:
    """The figure that this table shows for a bundle."""
    return FIGURES[open_bundle(bundle).task]


def classifier_table(name: str, data: DataSet, measured: Measured) -> TablePiece:
    """A row per modality, a column per way of training, and the paper's where the data are its.

    Args:
        name: of the files.
        data: what was trained on; its rows "text only" and so on are unimodal training.
        measured: of the classifiers, after "joint" and "cggm".
    """
    figure = figure_of(data.bundle)
    alone = {
        row.label.removesuffix(" only"): row.figures.get(figure, {})
        for row in data.rows
        if row.label.endswith(" only")
    }
    measured = {"unimodal": alone, **measured}
    paper = CLASSIFIERS if _is_papers(data) else {}
    modalities = list(dict.fromkeys(m for part in measured.values() for m in part))
    title = TITLES[figure] if figure in PLAIN else f"{TITLES[figure]} (%)"
    head = ["modality"]
    for how in COLUMNS:
        head += [f"{COLUMNS[how]}: {title}", *(["paper"] if paper else [])]
    rows, numbers = [], []
    for modality in modalities:
        found = {how: summarize(list(measured[how].get(modality, {}).values())) for how in COLUMNS}
        rows.append(_row(modality, found, figure, paper))
        numbers += _numbers(modality, found, figure, paper)
    table = Table(f"Single modalities after training, {data.label}", _caption(data), head, rows)
    return TablePiece(name, table, numbers)


def _row(
    modality: str,
    found: Mapping[str, Summary | None],
    figure: str,
    paper: Mapping[str, Mapping[str, float]],
) -> list[Cell]:
    digits = digits_of(figure)
    marks = marks_of({how: s.mean for how, s in found.items() if s is not None}, figure)
    cells = [Cell(modality)]
    for how, summary in found.items():
        mark = marks.get(how, "") == "best"
        cells.append(Cell(mean_text(summary, figure), "best" if mark else ""))
        if paper:
            theirs = paper.get(modality, {}).get(how)
            cells.append(Cell("–" if theirs is None else f"{theirs:.{digits}f}"))
    return cells


def _numbers(
    modality: str,
    found: Mapping[str, Summary | None],
    figure: str,
    paper: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    return [
        {
            "modality": modality,
            "trained": how,
            "figure": figure,
            "seeds": summary.count,
            "mean": summary.mean,
            "sd": "" if summary.sd is None else summary.sd,
            "published": paper.get(modality, {}).get(how, ""),
        }
        for how, summary in found.items()
        if summary is not None
    ]


def _is_papers(data: DataSet) -> bool:
    """Whether the paper's Table 5 is of these data."""
    return data.bundle == "iemocap" and published(data.name) is not None


def _caption(data: DataSet) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested. Unimodal training: a network of its own per "
        "modality. Otherwise: the classifier on the modality's features in the network that was "
        "trained jointly or with CGGM, of the epoch that validation chose for the network.",
        *generated_line(data),
        "Mean ± standard deviation over seeds. Bold: best of a row.",
    ]
    return [*lines, "Paper: Table 5 of the CGGM paper."] if _is_papers(data) else lines
