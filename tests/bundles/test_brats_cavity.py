"""The resection cavity of BraTS 2024: a class with `--outputs cavity`, else background."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner

from cggm import Segmenter
from cggm.bundles import path
from cggm.data.brats.cases import find_cases
from cggm.data.brats.layouts import LAYOUTS
from cggm.data.errors import InputError
from cggm.pipelines.commands.app import app
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.handlers.checkpoint_file import save
from cggm.pipelines.segmentation.batch.case import Settings, Tool
from cggm.pipelines.segmentation.packing.metadata import Release
from cggm.pipelines.segmentation.packing.tree import pack, read_model
from cggm.pipelines.segmentation.trained import trained_network, weights_in

from .conftest import Bundle

REGIONS = ("WT", "TC", "ET", "RC")


def table(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def voxels(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def operated(source: str, target: Path, *, cavity: int) -> None:
    """Copy phantoms to files of BraTS 2024, a cavity planted where the tumor begins.

    Args:
        source: phantoms in the layout of BraTS 2021.
        target: gets the cases.
        cavity: value of the cavity.
    """
    layout = LAYOUTS["brats2023"]
    for case in find_cases(source):
        assert case.label is not None
        label = nib.load(case.label.path)
        values = np.asarray(label.dataobj).astype(np.uint8)
        values[values == 4] = 3
        x, y, z = np.argwhere(values).mean(0).astype(int)
        place = (slice(x, x + 5), slice(y, y + 5), slice(z - 1, z + 3))
        values[place] = cavity
        folder = target / case.name
        folder.mkdir(parents=True)
        nib.save(
            nib.Nifti1Image(values, label.affine), folder / layout.file_name(case.name, "label")
        )
        for name, image in case.images.items():
            (folder / layout.file_name(case.name, name)).write_bytes(image.path.read_bytes())


@pytest.fixture(scope="module")
def patients(brats: Bundle, shared: Path) -> Path:
    """The six phantoms after surgery, and again with the cavity left out of the labels."""
    with FileLock(shared / "operated.lock"):
        if not (shared / "operated").exists():
            for name, value in {"operated-without": 0, "operated": 4}.items():
                operated(brats.data["dataset_dir"], shared / name, cavity=value)
    return shared / "operated"


@pytest.fixture(scope="module")
def settings(patients: Path) -> dict[str, Any]:
    return {"dataset_dir": str(patients), "label_convention": "brats2024"}


def level(weights: Path) -> None:
    """Let a network that is hardly trained predict every class somewhere."""
    content = torch.load(weights, weights_only=True)
    network, sequences = trained_network(weights)
    image = torch.randn(4, len(sequences), 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        content["network"]["head.bias"] -= network(image).mean((0, 2, 3))
    save(content, weights)


@pytest.fixture(scope="module")
def model(brats: Bundle, settings: dict[str, Any], shared: Path) -> Path:
    """A training with the cavity as a class, evaluated and used."""
    out = shared / "cavity"
    with FileLock(shared / "cavity.lock"):
        if not (out / "done").exists():
            brats.run("train.json", out, outputs="cavity", lr=1e-4, **settings)
            level(out / "models" / "last.pt")
            brats.run("evaluate.json", out, subsets=True, **settings)
            brats.run("inference.json", out, **settings)
            (out / "done").touch()
    return out


def test_training_has_a_fifth_class_and_validates_it(model: Path) -> None:
    assert json.loads((model / "models" / "model.json").read_text())["outputs"] == "cavity"
    state = torch.load(model / "models" / "model.pt", weights_only=True)
    assert state["head.weight"].shape[0] == 5
    (row,) = table(model / "history.csv")
    assert all(math.isfinite(float(value)) for value in row.values())
    dice = [float(row[f"validation/dice/{region}"]) for region in REGIONS]
    assert float(row["validation/dice/mean"]) == pytest.approx(np.mean(dice[:3]))


def test_evaluation_tells_the_cavity_beside_the_mean(model: Path) -> None:
    (row,) = table(model / "evaluation" / "evaluation.csv")
    truth = model.parent / "operated" / row["case"] / f"{row['case']}-seg.nii.gz"
    true, mask = voxels(truth), voxels(model / "masks" / f"{row['case']}.nii.gz")
    overlap = 200 * ((mask == 4) & (true == 4)).sum() / ((mask == 4).sum() + (true == 4).sum())
    assert float(row["volumetric_RC"]) == pytest.approx(overlap, abs=0.01)
    tumor = [float(row[f"volumetric_{region}"]) for region in REGIONS[:3]]
    assert float(row["volumetric_mean"]) == pytest.approx(np.mean(tumor), abs=0.01)
    summary = json.loads((model / "evaluation" / "evaluation.json").read_text())
    for protocol in ("volumetric", "tumor_slices", "random_slices"):
        assert set(summary[protocol]) >= {*REGIONS, "mean"}
    subset = table(model / "evaluation" / "subsets.csv")[-1]
    assert subset["RC_dice"] == row["volumetric_RC"] and float(subset["RC_hd95_mm"]) >= 0
    assert "ET_ece" in subset and "RC_ece" not in subset
    kept = json.loads((model / "models" / "subsets.json").read_text())
    assert list(kept["counter_intuitive"]) == ["what", *REGIONS]


def test_masks_and_volumes_of_inference_hold_it(model: Path) -> None:
    (judged,) = table(model / "evaluation" / "evaluation.csv")
    row = {each["case"]: each for each in table(model / "volumes.csv")}[judged["case"]]
    mask = voxels(model / "masks" / f"{row['case']}.nii.gz")
    assert (mask == 4).any() and set(np.unique(mask)) <= set(range(5))
    assert float(row["RC_ml"]) == pytest.approx((mask == 4).sum() * 0.064, abs=1e-3)
    assert row["RC_dice"] == judged["volumetric_RC"] and "RC Dice" in row["expected"]


def test_segmenting_a_hospitals_cases(
    brats: Bundle, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images as BraTS 2021 names them: masks are in a convention that has the cavity anyway."""
    case = find_cases(brats.data["dataset_dir"])[0]
    (tmp_path / "in" / case.name).mkdir(parents=True)
    for source in case.images.values():
        (tmp_path / "in" / case.name / source.path.name).write_bytes(source.path.read_bytes())
    words = ["segment", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model)]
    refused = CliRunner().invoke(app, [*words, "--label_convention", "brats2021"])
    assert isinstance(refused.exception, InputError) or "brats2024" in refused.output
    assert not (tmp_path / "out").exists(), "refused before any case"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "RC " in done.output
    folder = tmp_path / "out" / case.name
    record = json.loads((folder / f"{case.name}.json").read_text())
    mask = voxels(folder / f"{case.name}_mask.nii.gz")
    assert record["label_convention"] == "brats2024" and (mask == 4).any()
    ml = round((mask == 4).sum() * 0.064, 3)
    assert record["volumes_ml"]["RC"] == pytest.approx(ml, abs=1e-3)
    assert 0 < record["confidence"]["RC"] <= 1 and "RC" in record["expected_dice"]
    (row,) = table(tmp_path / "out" / "volumes.csv")
    assert float(row["RC_ml"]) == record["volumes_ml"]["RC"]
    page = (folder / f"{case.name}.html").read_text()
    assert "resection cavity (RC)" in page and "data-region='RC'" in page
    overview = (tmp_path / "out" / "index.html").read_text()
    assert "RC, ml" in overview and "the resection cavity (RC) in 1 case" in overview


def test_python_gives_five_probabilities(brats: Bundle, model: Path, tmp_path: Path) -> None:
    case = find_cases(brats.data["dataset_dir"])[0]
    files = {name: source.path for name, source in case.images.items() if name != "t1ce"}
    segmenter = Segmenter.from_folder(model)
    result = segmenter.segment_files(files, tmp_path / "mask.nii.gz", probabilities=True)
    assert result.probabilities is not None and len(result.probabilities) == 5
    assert np.allclose(result.probabilities.sum(0), 1, atol=1e-5)
    assert math.isnan(result.volumes["ET"]) and result.volumes["RC"] > 0
    assert np.array_equal(voxels(tmp_path / "mask.nii.gz"), result.classes)
    with pytest.raises(InputError, match="a resection cavity .* choose brats2024"):
        result.codes("brats2021")
    with pytest.raises(InputError, match="'brats2023', which has no value .* this network tells"):
        segmenter.segment_files(files, label_convention="brats2023")
    with pytest.raises(InputError, match="'msd', which has no value for the resection cavity"):
        Tool(weights_in(model), Settings(label_convention="msd"))


def test_labels_without_a_cavity_are_refused(brats: Bundle, tmp_path: Path) -> None:
    with pytest.raises((InputError, RuntimeError)) as caught:
        brats.run("train.json", tmp_path, outputs="cavity")
    line = str(explain(caught.value))
    assert "labels of brats2021 such as that of Phantom_00000 tell no resection cavity" in line
    assert "brats2024" in line and "--outputs classes" in line


def test_without_its_class_the_cavity_is_background_as_before(
    brats: Bundle, settings: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The weights are those of a training on labels that never had a cavity."""
    without = {"dataset_dir": f"{settings['dataset_dir']}-without", "label_convention": "brats2023"}
    sentence = "the resection cavity in labels of brats2024 becomes background"
    states = []
    for number, data in enumerate((settings, without)):
        brats.run("train.json", tmp_path / str(number), **data)
        assert capfd.readouterr().err.count(sentence) == 1 - number
        path_ = tmp_path / str(number) / "models" / "last.pt"
        states.append(torch.load(path_, weights_only=True)["network"])
    assert states[0]["head.weight"].shape[0] == 4
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    brats.run("evaluate.json", tmp_path / "0", subsets=True, **settings)
    for file in ("evaluation", "subsets"):
        assert "RC" not in (tmp_path / "0" / "evaluation" / f"{file}.csv").read_text()


def test_fine_tuning_and_packing(
    brats: Bundle, model: Path, trained: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    more = {"outputs": "cavity", "lr": 1e-7, **settings}
    split = {"split_file": str(model / "split.json")}
    brats.run("train.json", tmp_path / "tuned", init=str(model), **more, **split)
    first, second = (
        torch.load(folder / "models" / "last.pt", weights_only=True)["network"]["head.weight"]
        for folder in (model, tmp_path / "tuned")
    )
    assert len(second) == 5 and torch.allclose(first, second, atol=1e-3)
    with pytest.raises((InputError, RuntimeError)) as caught:
        brats.run("train.json", tmp_path / "other", init=str(trained), **more, **split)
    assert "outputs classes" in str(explain(caught.value))

    bundle = tmp_path / "bundle"
    pack(read_model(model), bundle, path("brats"), Release("phantoms", "none"))
    meta = json.loads((bundle / "configs" / "metadata.json").read_text())
    pred = meta["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == 5 and pred["channel_def"]["4"] == "resection cavity"
    assert "mean_volumetric_dice_percent_RC" in meta["eval_metrics"]
    card = next(bundle.rglob("README.md")).read_text()
    assert "4 resection cavity (RC), as in BraTS 2024" in card and "RC Dice" in card
