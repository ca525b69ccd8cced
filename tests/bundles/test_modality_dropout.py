"""Modality dropout in the bundles: trained, recorded beside the weights, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.commands.limits import check_limits

from .conftest import Bundle, make_bundle


@pytest.mark.parametrize("name", ["brats", "mosi"])
def test_it_trains_and_its_rates_lie_beside_the_weights(
    name: str, shared: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(name, shared)
    one = {"brats": "t1ce", "mosi": "text"}[name]
    settings = {"modality_dropout": 0.3, "missing": {one: 0.5}, "dropout_ramp": 1}
    bundle.run("train.json", tmp_path, epochs=2, **settings)
    rates = json.loads((tmp_path / "models" / "model.json").read_text())["modality_dropout"]
    assert rates[one] == 0.5
    assert set(rates.values()) == {0.3, 0.5}
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    kept = [float(row.split(",")[header.split(",").index(f"kept/{one}")]) for row in rows]
    assert kept[0] == 1  # the ramp begins with nothing dropped
    assert kept[1] < 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing": {"t1c": 0.5}}, "missing names 't1c'; the network has .*mean 't1ce'"),
        ({"method": "mrd", "modality_dropout": 0.3}, "MRD has its own modality dropout"),
        ({"method": "ume", "modality_dropout": 0.3}, "takes any subset as it is"),
        ({"modality_dropout": 1.0}, "would mask all of them"),
        ({"modality_dropout": 0.3, "dropout_ramp": 2}, "2 epochs never see its full rate"),
    ],
)
def test_what_cannot_work_is_refused(
    settings: dict[str, Any], message: str, brats: Bundle, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, RuntimeError)) as error:
        brats.run("train.json", tmp_path, epochs=2, **settings)
    line = explain(error.value)
    assert line is not None, "a fault of the program"
    assert re.search(message, line)


@pytest.mark.parametrize(
    ("name", "value"),
    [("modality_dropout", 1.2), ("missing", {"t1ce": 2}), ("missing", 0.5), ("dropout_ramp", -1)],
)
def test_settings_out_of_range_are_refused_before_anything_is_read(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        check_limits(name, value)
