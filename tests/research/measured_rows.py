"""Rows and data sets for tests of tables and figures, without any run."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cggm.bundles import path
from cggm.pipelines.research.report.collect import DataSet, Kind, Row

STAND_IN = "generated features (no real samples): iemocap"


RECIPE: dict[str, Any] = json.loads(Path(path("iemocap"), "paper.json").read_text())


def data_set(name: str = STAND_IN, rows: list[Row] | None = None) -> DataSet:
    return DataSet("iemocap", "iemocap", name, 100, rows or [], {}, [], [])


def row(label: str, values: list[float], **own: float | str) -> Row:
    """A row that was trained by the paper's recipe, but for `own`."""
    method = "joint" if label == "joint" else "cggm"
    kind = Kind.JOINT if label == "joint" else Kind.OTHER
    if label.endswith(" only"):
        method, kind = "unimodal", Kind.ALONE
    runs = pd.DataFrame({"accuracy": values, "f1_weighted": values})
    return Row(label, method, kind, own, None, runs.rename_axis("seed"), RECIPE)
