"""Figures of each row: mean, difference to joint training, the paper's value, best and second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import pandas as pd

from ...evaluation.outcomes import LOWER_IS_BETTER, PLAIN
from ...methods import CATALOGUE
from ..experiments.bundles import open_bundle
from .collect import SECONDS, DataSet, Kind, Row
from .published import comparison_of, paper_table
from .recipe import follows_recipe
from .statistics import difference, holm, summarize

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


def measure(data: DataSet, figure: str) -> pd.DataFrame:
    """Everything that is known of a figure.

    Args:
        data: what was trained on.
        figure: one of :func:`figures_of`.

    Returns:
        A line per row that has the figure. ``mean``, ``sd`` and ``seeds``; ``difference``, ``low``,
        ``high`` and ``p`` of the difference to joint training, and ``p_holm``, corrected for the
        number of rows that are compared; ``published``, what the paper has; ``mark``, "best",
        "second" or "". NaN where a value is not known.
    """
    table = summarize(combined({row.label: row for row in data.rows})[figure])
    rows = [row for row in data.rows if row.label in table.index]
    differences = pd.DataFrame([_to_joint(row, data.joint, figure) for row in rows], table.index)
    table = table.join(differences)
    table["p_holm"] = holm(table["p"])
    table["published"] = [_published(row, data, figure) for row in rows]
    table["mark"] = marks_of(table["mean"], figure)
    return table


def combined(rows: Mapping[str, Row]) -> pd.DataFrame:
    """The runs of several rows, by row and seed.

    Args:
        rows: by the name that each has in the frame.
    """
    return pd.concat({name: row.runs for name, row in rows.items()}, names=["row"])


def figures_of(data: DataSet) -> list[str]:
    """The columns: figures that any row has, in their order."""
    return [name for name in TITLES if any(name in row.runs for row in data.rows)]


def heading(figure: str) -> str:
    """Title of a column, with the unit."""
    return TITLES[figure] if figure in PLAIN else f"{TITLES[figure]} (%)"


def digits_of(figure: str) -> int:
    """Decimals: shares are in percent."""
    return 3 if figure in PLAIN else 2


def marks_of(means: pd.Series, figure: str) -> pd.Series:
    """Which means are "best" and "second"; those that read the same share the mark."""
    shown = means.map(partial(round, ndigits=digits_of(figure)))
    if shown.nunique() < 2:
        return pd.Series("", shown.index)
    places = shown.rank(method="dense", ascending=figure in LOWER_IS_BETTER)
    return places.map({1: "best", 2: "second"}).fillna("")


def relative_cost(row: Row, joint: Row) -> float:
    """Seconds of training over those of joint training, over the seeds that both have, or NaN."""
    both = [row.values(SECONDS), joint.values(SECONDS)]
    ours, theirs = pd.concat(both, axis="columns", join="inner").sum()
    return ours / theirs if theirs else math.nan


def is_extension(row: Row, data: DataSet) -> bool:
    """Whether the method's paper has no such task, or not so many modalities."""
    method = CATALOGUE.get(row.method)
    if method is None or row.kind == Kind.ALONE:
        return False
    bundle = open_bundle(data.bundle)
    return bool(method.beyond_paper(bundle.task, len(row.modalities or bundle.modalities)))


def _to_joint(row: Row, joint: Row | None, figure: str) -> dict[str, float]:
    compared = None
    if joint is not None and row.kind == Kind.OTHER:
        compared = difference(row.values(figure), joint.values(figure))
    if compared is None:
        return dict.fromkeys(("difference", "low", "high", "p"), math.nan)
    ends = {"low": compared.low, "high": compared.high}
    return {"difference": compared.mean, **ends, "p": compared.p}


def _published(row: Row, data: DataSet, figure: str) -> float:
    """The paper's figure for a row; NaN where it is no run of the paper's recipe on its data."""
    name = comparison_of(data.name)
    if name is None or not follows_recipe(row, data.bundle):
        return math.nan
    if row.kind != Kind.ALONE and _is_other_training(row, data):
        return math.nan
    values = paper_table(name).get(figure, pd.Series(dtype=float))
    return values.get(row.label if row.kind == Kind.ALONE else row.method, math.nan)


def _is_other_training(row: Row, data: DataSet) -> bool:
    """Whether a row has fewer modalities, or is a variant beside the method itself."""
    bundle = open_bundle(data.bundle)
    fewer = row.modalities is not None and set(row.modalities) != set(bundle.modalities)
    # "cggm, other rule" beside a row that is plainly "cggm".
    return fewer or (row.label != row.method and any(r.label == row.method for r in data.rows))
