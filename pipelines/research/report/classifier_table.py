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
from .recipe import ONLY, follows_recipe
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
_NUMBERS = ["modality", "trained", "figure", "seeds", "mean", "sd", "published"]
# How trained, then modality, then seed.
Measured = Mapping[str, Mapping[str, Mapping[Any, float]]]


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
        row.label.removesuffix(" only"): row.values(figure).to_dict()
        for row in data.rows
        if row.kind == Kind.ALONE
    }
    measured = {"unimodal": alone, **measured}
    most = max(len(seeds) for part in measured.values() for seeds in part.values())
    table = _summary(measured, figure)
    if is_iemocap(data.name):
        trained = [row.method for row in data.rows if follows_recipe(row, data.bundle)]
        published = paper_table("table5").stack().reindex(table.index)
        ours = table.index.get_level_values("trained").isin(trained)
        table["published"] = published.where(ours)
    table = table.reset_index()
    head = ["modality"]
    columns = [[Cell(name) for name in table["modality"].unique()]]
    for trained, title in COLUMNS.items():
        part = table[table["trained"] == trained]
        head.append(f"{title}: {heading(figure)}")
        columns.append(mean_cells(part, figure, [most] * len(part)))
        if is_iemocap(data.name):
            head.append("paper")
            columns.append(published_cells(part["published"], figure))
    rows = [list(row) for row in zip(*columns, strict=True)]
    title = f"Single modalities after training, {data.label}"
    tested = table.dropna(subset="mean").assign(figure=figure).astype({"seeds": int})
    numbers = lines_of(tested[_NUMBERS])
    return TablePiece(name, Table(title, _caption(data, most), head, rows), numbers)


def _summary(measured: Measured, figure: str) -> pd.DataFrame:
    """Mean, deviation, seeds and mark by modality and way of training, NaN where not tested."""
    values = {
        (modality, trained, seed): value
        for trained, part in measured.items()
        for modality, seeds in part.items()
        for seed, value in seeds.items()
    }
    levels = ["modality", "trained"]
    index = pd.MultiIndex.from_tuples(values, names=[*levels, "seed"])
    modalities = dict.fromkeys(modality for part in measured.values() for modality in part)
    table = summarize(pd.Series(list(values.values()), index, dtype=float), levels)
    table = table.reindex(pd.MultiIndex.from_product([modalities, COLUMNS], names=levels))
    marks = [marks_of(means, figure) for _, means in table["mean"].groupby("modality", sort=False)]
    return table.assign(mark=pd.concat(marks).replace("second", ""), published=float("nan"))


def _caption(data: DataSet, most: int) -> list[str]:
    lines = [
        f"Data: {data.name}, {data.samples} tested. Unimodal training: a network of its own per "
        "modality. Otherwise: the classifier on the modality's features in the network that was "
        "trained jointly or with CGGM, of the epoch that validation chose for the network.",
        *generated_line(data),
        "One seed." if most == 1 else f"Mean ± standard deviation over up to {most} seeds.",
        "Bold: best of a row.",
    ]
    return [*lines, f"Paper: Table 5 of the CGGM paper{ONLY}"] if is_iemocap(data.name) else lines
