"""Cases that lack a sequence: trained on, validated, evaluated in the subsets that they have."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cggm.data.brats.cases import find_cases
from cggm.pipelines.commands.failures import explain

from .conftest import Bundle, make_bundle

LACKING = (0, 2, 5)  # a training case, the validation case and the test case


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def lacking(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The six phantoms, three of them without t1ce, and their split."""
    complete = make_bundle("brats", shared)
    root = tmp_path_factory.mktemp("lacking")
    cases = find_cases(complete.data["dataset_dir"])
    for number, case in enumerate(cases):
        folder = root / "data" / case.name
        folder.mkdir(parents=True)
        assert case.label is not None
        for name, source in (case.images | {"seg": case.label}).items():
            if number not in LACKING or name != "t1ce":
                os.symlink(source.path, folder / source.path.name)
    names = [case.name for case in cases]
    split = {"train": [names[n] for n in (0, 1, 3, 4)], "val": [names[2]], "test": [names[5]]}
    (root / "split.json").write_text(json.dumps(split))
    data = complete.data | {
        "dataset_dir": str(root / "data"),
        "split_file": str(root / "split.json"),
        "allow_missing": True,
    }
    return Bundle("brats", data, training=complete.training)


@pytest.fixture(scope="module")
def trained(lacking: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs with CGGM and modality dropout, with the scheduler of resumed ones."""
    out = tmp_path_factory.mktemp("trained")
    lacking.run("train.json", out, epochs=2, modality_dropout=0.3)
    return out


def test_training_uses_them_and_says_so(lacking: Bundle, trained: Path) -> None:
    description = json.loads((trained / "models" / "model.json").read_text())
    assert description["absent"] == {"flair": 0, "t1": 0, "t1ce": 0.25, "t2": 0}
    workflow = lacking.workflow("train.json", trained, modality_dropout=0.3)
    workflow.initialize()
    items = list(workflow.parser.get_parsed_content("train#dataset"))
    for item in items:
        assert item["present"].tolist() == [True, True, bool(item["image"][2].any()), True]
    assert sum(not item["present"][2] for item in items) == len(items) / 4
    workflow.finalize()


@pytest.fixture(scope="module")
def volumes(lacking: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An epoch of the network for volumes, with CGGM and modality dropout."""
    out = tmp_path_factory.mktemp("volumes")
    lacking.run("train.json", out, architecture="segresnet", patch_size=16, batch_size=1, lr=1e-3)
    return out


@pytest.mark.parametrize("network", ["trained", "volumes"])
def test_they_are_evaluated_in_the_subsets_that_they_have(
    lacking: Bundle, network: str, request: pytest.FixtureRequest
) -> None:
    trained: Path = request.getfixturevalue(network)
    lacking.run("evaluate.json", trained, subsets=True)
    rows = table(trained / "evaluation" / "subsets.csv")
    assert [row["sequences"] for row in rows] == [
        *("t2", "t1", "flair", "t1+t2", "flair+t2", "flair+t1", "flair+t1+t2")
    ]
    (whole,) = table(trained / "evaluation" / "evaluation.csv")
    assert whole["remark"] == "ET not reliable without t1ce" and whole["volumetric_ET"] == ""
    assert float(whole["volumetric_WT"]) == float(rows[-1]["WT_dice"])
    lacking.run("inference.json", trained, split_file=None, dataset_dir=lacking.data["dataset_dir"])
    segmented = {row["case"]: row for row in table(trained / "volumes.csv")}
    assert segmented[whole["case"]]["sequences"] == "flair+t1+t2"
    assert float(segmented[whole["case"]]["WT_dice"]) == float(whole["volumetric_WT"])


def test_stopped_and_resumed_is_the_same(lacking: Bundle, trained: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"modality_dropout": 0.3, "scheduler#epochs": 2}
    lacking.run("train.json", tmp_path, epochs=1, **settings)
    lacking.run("train.json", tmp_path, epochs=2, resume=True, **settings)
    whole, parts = (
        torch.load(folder / "models" / "last.pt", weights_only=True)["network"]
        for folder in (trained, tmp_path)
    )
    for name, tensor in whole.items():
        assert torch.equal(parts[name], tensor), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allow_missing": False}, r"case \S+: no file for t1ce .*\(--allow_missing\)"),
        ({"method": "ume"}, r"1 of 4 training cases lack sequences: \S+ \(t1ce\); leave them out"),
        ({"sequences": ["t1ce"], "method": "joint"}, "no file for any of t1ce"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    settings: dict[str, Any], message: str, lacking: Bundle, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, RuntimeError)) as error:
        lacking.run("train.json", tmp_path, **settings)
    line = explain(error.value)
    assert line is not None, "a fault of the program"
    assert re.search(message, line)
