"""Rows and data sets for tests of tables and figures, without any run."""

from cggm.pipelines.research.report.collect import DataSet, Row

STAND_IN = "generated features (no real samples): iemocap"


def data_set(name: str = STAND_IN, rows: list[Row] | None = None) -> DataSet:
    return DataSet("iemocap", "iemocap", name, 100, rows or [], {}, [], [])


def row(label: str, values: list[float], **own: float | str) -> Row:
    method = "joint" if label == "joint" else "cggm"
    kind = {"joint": 1}.get(label, 0 if label.endswith(" only") else 2)
    figures = {"accuracy": dict(enumerate(values)), "f1_weighted": dict(enumerate(values))}
    return Row(label, method, kind, own, None, figures, seeds=set(range(len(values))))
