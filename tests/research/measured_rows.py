"""Rows and data sets for tests of tables and figures, without any run."""

import pandas as pd

from cggm.pipelines.research.report.collect import DataSet, Kind, Row

STAND_IN = "generated features (no real samples): iemocap"


def data_set(name: str = STAND_IN, rows: list[Row] | None = None) -> DataSet:
    return DataSet("iemocap", "iemocap", name, 100, rows or [], {}, [], [])


def row(label: str, values: list[float], **own: float | str) -> Row:
    method = "joint" if label == "joint" else "cggm"
    kind = Kind.JOINT if label == "joint" else Kind.OTHER
    kind = Kind.ALONE if label.endswith(" only") else kind
    runs = pd.DataFrame({"accuracy": values, "f1_weighted": values})
    return Row(label, method, kind, own, None, runs.rename_axis("seed"))
