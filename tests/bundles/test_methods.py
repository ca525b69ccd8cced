"""Every method on every bundle that it covers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cggm.bundles import path
from cggm.pipelines.methods import CATALOGUE, ReconBoost, create
from cggm.pipelines.methods.reconboost import stage_lengths

from .conftest import Bundle

TASK_OF = {
    "brats": "segmentation",
    "food101": "classification",
    "iemocap": "classification",
    "mosi": "regression",
}
MODALITIES = {"brats": 4, "food101": 2, "iemocap": 3, "mosi": 3}


def final(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "models" / "last.pt", weights_only=True)["network"]


@pytest.mark.parametrize("method", sorted(set(CATALOGUE) - {"cggm"}))
def test_trains_and_evaluates(method: str, bundle: Bundle, tmp_path: Path) -> None:
    kind = CATALOGUE[method]
    settings: dict[str, Any] = {"method": method, "val_interval": 1}
    if kind.late_fusion is None and method != "mrd":  # those that take modality dropout
        settings["modality_dropout"] = 0.3
    if kind.teachers_by is not None:
        bundle.run("train.json", tmp_path / "teachers", method=kind.teachers_by)
    if TASK_OF[bundle.name] not in kind.published | kind.extended:
        with pytest.raises(RuntimeError, match="train::trainer"):
            bundle.run("train.json", tmp_path, **settings)
        return
    epochs = 2
    if method == "reconboost":  # an epoch for each modality
        epochs, settings["methods#reconboost#n2"] = 4, 0
    workflow = bundle.run("train.json", tmp_path, epochs=epochs, **settings)
    said = workflow.parser.get_parsed_content("facts#method")
    most = kind.published_modalities or 4
    is_in_paper = TASK_OF[bundle.name] in kind.published and MODALITIES[bundle.name] <= most
    assert said == method if is_in_paper else said.startswith(f"{method}, in our extension to ")
    assert all(bool(value.isfinite().all()) for value in final(tmp_path).values())
    options = {} if bundle.name != "brats" else {"late_fusion": kind.late_fusion}
    bundle.run("evaluate.json", tmp_path, **options)
    assert (tmp_path / "evaluation" / "evaluation.json").is_file()


@pytest.mark.parametrize(("name", "count"), MODALITIES.items())
def test_the_default_epochs_give_every_modality_a_turn(name: str, count: int) -> None:
    settings = json.loads((Path(path(name)) / "train.json").read_text())
    boosting = create("reconboost", settings["methods"])
    assert isinstance(boosting, ReconBoost)
    stage = stage_lengths(boosting.n1, boosting.n2, count, settings["epochs"])
    assert settings["epochs"] >= count * sum(stage)
