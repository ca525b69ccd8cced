"""What methods' steps cost: trainings with classifiers and without, and the file of figures."""

import csv
from pathlib import Path

import pytest

from cggm.pipelines.methods import CATALOGUE
from cggm.pipelines.research.paper.costs import measure
from cggm.pipelines.research.paper.training_steps import Steps, can_go_without, covers, method_for


@pytest.mark.parametrize("name", [name for name in CATALOGUE if can_go_without(name)])
def test_a_method_that_can_go_without_classifiers_does(name: str, tmp_path: Path) -> None:
    bundle = "mosi" if covers(name, "mosi") else "food101"
    Steps(bundle, method_for(name, bundle, tmp_path), classifiers=False).end()


@pytest.mark.slow
def test_a_row_for_each_method_that_covers_a_bundle(tmp_path: Path) -> None:
    measure(tmp_path / "costs.csv", ["mosi"], ["joint", "cggm", "passion"], steps=2)
    with (tmp_path / "costs.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["joint", "cggm"]  # passion is not for regressions
    assert all(float(row["step_ms_ratio"]) > 0 < float(row["peak_mb"]) for row in rows.values())
    assert (
        0 < float(rows["joint"]["peak_mb_without_classifiers"]) <= float(rows["joint"]["peak_mb"])
    )
    assert rows["cggm"]["peak_mb_without_classifiers"] == ""
