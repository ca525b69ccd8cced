"""Table 5: how good single modalities are after unimodal training, joint training and CGGM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..experiments.bundles import open_bundle
from .captions import generated_line
from .collect import DataSet, Kind
from .measured import heading, marks_of
from .pieces import Cell, Table, TablePiece, lines_of
from .published import is_iemocap, paper_table
from .statistics import summarize
from .tables import mean_cells, published_cells

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
    figure, has_paper = figure_of(data.bundle), is_iemocap(data.name)
    alone = {
        row.label.removesuffix(" only"): row.values(figure)
        for row in data.rows
        if row.kind == Kind.ALONE
    }
    measured = {"unimodal": alone, **measured}
    most = max(len(seeds) for part in measured.values() for seeds in part.values())
    modalities = list(dict.fromkeys(name for part in measured.values() for name in part))
    summary, paper = _summary(measured), paper_table("table5")
    head = ["modality"]
    for title in COLUMNS.values():
        head += [f"{title}: {heading(figure)}", *(["paper"] if has_paper else [])]
    rows: list[list[Cell]] = []
    numbers: list[dict[str, Any]] = []
    for modality in modalities:
        line = summary.loc[summary["modality"] == modality].set_index("trained")
        line = line.assign(mark=marks_of(line["mean"], figure).replace("second", ""))
        published = paper.reindex([modality]).loc[modality]
        theirs = published_cells(published.reindex(list(COLUMNS)), figure)
        ours = mean_cells(line.reindex(list(COLUMNS)), figure, [most] * len(COLUMNS))
        pairs = zip(ours, theirs, strict=True)
        rows.append([Cell(modality), *(c for pair in pairs for c in pair[: 1 + has_paper])])
        line = line.assign(figure=figure, published=published if has_paper else float("nan"))
        order = ["modality", "trained", "figure", "seeds", "mean", "sd", "published"]
        numbers += lines_of(line.reset_index()[order])
    title = f"Single modalities after training, {data.label}"
    return TablePiece(name, Table(title, _caption(data, most), head, rows), numbers)


def _summary(measured: Measured) -> pd.DataFrame:
    """Mean, deviation and seeds by way of training and modality."""
    values = {
        (trained, modality, seed): value
        for trained, part in measured.items()
        for modality, seeds in part.items()
        for seed, value in seeds.items()
    }
    index = pd.MultiIndex.from_tuples(values, names=["trained", "modality", "seed"])
    series = pd.Series(list(values.values()), index, dtype=float)
    return summarize(series, ["trained", "modality"]).reset_index()


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
