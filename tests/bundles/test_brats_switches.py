"""Switches of the BraTS network, from training to masks."""

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cggm import Segmenter
from cggm.data.brats.cases import find_cases
from cggm.data.errors import InputError
from cggm.pipelines.commands.failures import explain

from .conftest import Bundle


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def check_agreement(brats: Bundle, out: Path, segmenter: Segmenter, **settings: object) -> None:
    """Evaluation, inference and the segmenter give one result for one case."""
    brats.run("evaluate.json", out, **settings)
    brats.run("inference.json", out, overlays=False, **settings)
    (row,) = table(out / "evaluation" / "evaluation.csv")
    segmented = {r["case"]: r for r in table(out / "volumes.csv")}
    for region in ("WT", "TC", "ET"):
        dice = float(row[f"volumetric_{region}"])
        assert float(segmented[row["case"]][f"{region}_dice"]) == pytest.approx(dice, abs=1e-6)
    (case,) = (c for c in find_cases(brats.data["dataset_dir"]) if c.name == row["case"])
    result = segmenter.segment_files({n: s.path for n, s in case.images.items()})
    mask = np.asarray(nib.load(out / "masks" / f"{case.name}.nii.gz").dataobj)
    assert mask.any() and np.array_equal(result.codes("brats2021"), mask)


def test_switches_from_training_to_masks(brats: Bundle, tmp_path: Path) -> None:
    """Regions and neighbors, with flips: in the figures, the masks and from Python."""
    brats.run("train.json", tmp_path, outputs="regions", neighbors=1, lr=3e-3)
    description = json.loads((tmp_path / "models" / "model.json").read_text())
    assert (description["outputs"], description["neighbors"]) == ("regions", 1)
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert state["head.weight"].shape[0] == 3
    first = [name for name in state if state[name].shape[1:2] == (3,)]
    assert len(first) == 4, "the first convolution of each encoder sees three slices"
    (row,) = table(tmp_path / "history.csv")
    assert all(math.isfinite(float(value)) for value in row.values())
    check_agreement(brats, tmp_path, Segmenter.from_folder(tmp_path, flips=True), flips=True)
    with pytest.raises(RuntimeError) as error:
        brats.run("evaluate.json", tmp_path, outputs="classes")
    assert str(explain(error.value)).endswith(
        "last.pt was trained with outputs regions; this run builds classes: build what was "
        "trained (--outputs regions)"
    )


def test_switches_of_the_network_for_volumes(brats: Bundle, tmp_path: Path) -> None:
    """Regions, an average of the weights and flips; neighbors are refused."""
    settings = {"architecture": "segresnet", "patch_size": 16, "batch_size": 2}
    switches = {"outputs": "regions", "ema": 0.5, "method": "joint", "lr": 3e-3}
    brats.run("train.json", tmp_path, seed=2, **settings, **switches)  # it finds something
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert state["head.weight"].shape[:1] == (3,) and state["head.weight"].ndim == 5
    check_agreement(brats, tmp_path, Segmenter.from_folder(tmp_path, flips=True), flips=True)
    with pytest.raises((RuntimeError, ValueError)) as error:
        brats.run("train.json", tmp_path / "other", neighbors=1, **settings)
    line = str(explain(error.value))
    assert "neighbors is 1" in line and "leave neighbors out" in line and "\n" not in line


def test_boosting_fits_regions(brats: Bundle, tmp_path: Path) -> None:
    settings = {"method": "reconboost", "sequences": ["flair", "t1ce"], "epochs": 3}
    brats.run("train.json", tmp_path, outputs="regions", **settings)
    assert all(math.isfinite(float(row["loss"])) for row in table(tmp_path / "history.csv"))


def test_the_average_of_the_weights_is_what_is_validated_and_used(
    brats: Bundle, tmp_path: Path
) -> None:
    workflow = brats.run("train.json", tmp_path, ema=0.5, lr=3e-3, method="joint")
    average = workflow.parser.get_parsed_content("average").network.state_dict()
    trained = workflow.parser.get_parsed_content("network_def").state_dict()
    saved = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(saved[name], average[name]) for name in saved)
    assert not torch.equal(saved["head.weight"], trained["head.weight"])
    assert json.loads((tmp_path / "models" / "model.json").read_text())["ema"] == 0.5
    brats.run("evaluate.json", tmp_path, part="val")
    (row,) = table(tmp_path / "history.csv")
    (judged,) = table(tmp_path / "evaluation" / "evaluation.csv")
    dice = 100 * float(row["validation/dice/mean"])
    assert float(judged["volumetric_mean"]) == pytest.approx(dice, abs=0.01) and dice > 0


def test_folds_segment_together(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    brats.run("train.json", tmp_path / "one", lr=3e-3, method="joint")
    folders = [tmp_path / "one", trained]
    files = [str(folder / "models" / "last.pt") for folder in folders]
    out = tmp_path / "both"
    split = {"split_file": str(folders[0] / "split.json")}
    brats.run("evaluate.json", out, subsets=True, ckpt_path=files, **split)
    summary = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert summary["weights"] == files and len(set(summary["digests"])) == 2
    kept = json.loads((folders[0] / "models" / "ensemble_subsets.json").read_text())
    assert kept["weights"] == summary["digests"]
    (row,) = table(out / "evaluation" / "evaluation.csv")
    (case,) = (c for c in find_cases(brats.data["dataset_dir"]) if c.name == row["case"])
    images = {name: source.path for name, source in case.images.items()}
    segmenter = Segmenter.from_folder(folders)
    result = segmenter.segment_files(images, out / "mask.nii.gz", probabilities=True)
    assert result.expected.startswith("WT Dice ")
    alone = [Segmenter.from_folder(f).segment_files(images, probabilities=True) for f in folders]
    mean = np.mean([one.probabilities for one in alone], axis=0)
    assert np.allclose(result.probabilities, mean, atol=1e-5)
    truth = np.asarray(nib.load(case.label.path).dataobj) > 0  # type: ignore[union-attr]
    found = result.classes > 0
    dice = 200 * (truth & found).sum() / (truth.sum() + found.sum())
    assert float(row["volumetric_WT"]) == pytest.approx(dice, abs=0.006)

    with pytest.raises(RuntimeError) as error:
        brats.run("evaluate.json", out, part="train", ckpt_path=[files[0], files[0] + "x"], **split)
    assert "last.ptx cannot be read" in str(explain(error.value))
    models = folders[0] / "models"
    description = json.loads((models / "model.json").read_text()) | {"outputs": "regions"}
    (models / "model.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="networks that segment together are alike"):
        Segmenter.from_folder([trained, models / "model.pt"])
