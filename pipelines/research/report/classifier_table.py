"""Table 5: how good are single modalities after unimodal training, joint training and CGGM?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..experiments.bundles import open_bundle
from .captions import generated_line
from .collect import ALONE, DataSet
from .measured import heading, marks_of
from .pieces import TablePiece
from .published import is_iemocap
from .published_rest import CLASSIFIERS
from .statistics import Summary, summarize
from .tables import Cell, Table, mean_cell, published_cell

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
        if row.kind == ALONE
    }
    measured = {"unimodal": alone, **measured}
    most = max(len(seeds) for part in measured.values() for seeds in part.values())
    paper = CLASSIFIERS if is_iemocap(data.name) else {}
    head = ["modality"]
    for title in COLUMNS.values():
        head += [f"{title}: {heading(figure)}", *(["paper"] if paper else [])]
    rows, numbers = [], []
    for modality in dict.fromkeys(m for part in measured.values() for m in part):
        found = {how: summarize(measured[how].get(modality, {}).values()) for how in COLUMNS}
        theirs = paper.get(modality, {})
        rows.append([Cell(modality), *_cells(found, theirs if paper else None, figure, most)])
        numbers += _lines(modality, found, theirs, figure)
    title = f"Single modalities after training, {data.label}"
    return TablePiece(name, Table(title, _caption(data, most), head, rows), numbers)


def _cells(
    found: Mapping[str, Summary | None],
    paper: Mapping[str, float] | None,
    figure: str,
    seeds: int,
) -> list[Cell]:
    marks = marks_of({how: s for how, s in found.items() if s is not None}, figure)
    cells = []
    for how, summary in found.items():
        mark = "best" if marks.get(how) == "best" else ""
        cells.append(mean_cell(summary, figure, seeds, mark))
        cells += [] if paper is None else [published_cell(paper.get(how), figure)]
    return cells


def _lines(
    modality: str, found: Mapping[str, Summary | None], paper: Mapping[str, float], figure: str
) -> list[dict[str, Any]]:
    return [
        {
            "modality": modality,
            "trained": how,
            "figure": figure,
            "seeds": summary.count,
            "mean": summary.mean,
            "sd": summary.sd,
            "published": paper.get(how),
        }
        for how, summary in found.items()
        if summary is not None
    ]


def _caption(data: DataSet, most: int) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested. Unimodal training: a network of its own per "
        "modality. Otherwise: the classifier on the modality's features in the network that was "
        "trained jointly or with CGGM, of the epoch that validation chose for the network.",
        *generated_line(data),
        "One seed." if most == 1 else f"Mean ± standard deviation over up to {most} seeds.",
        "Bold: best of a row.",
    ]
    return [*lines, "Paper: Table 5 of the CGGM paper."] if is_iemocap(data.name) else lines
