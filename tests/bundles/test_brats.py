"""The BraTS bundle from training to masks, in this process."""

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
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.segmentation.small_enhancing import SIZES_ML

from .conftest import NETWORK, Bundle

SEQUENCES = ("flair", "t1", "t1ce", "t2")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def last(out: Path) -> dict[str, object]:
    return torch.load(out / "models" / "last.pt", weights_only=True)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "models" / "model.pt", weights_only=True)


def sentence(error: BaseException) -> str:
    """What the command line prints of an error: MONAI wraps those of components."""
    line = explain(error)
    assert line is not None, "a fault of the program"
    return line


@pytest.mark.parametrize("config", ["train.json", "inference.json", "evaluate.json"])
def test_properties_are_complete(config: str, brats: Bundle, trained: Path, tmp_path: Path) -> None:
    model = {} if config == "train.json" else {"ckpt_path": str(trained / "models" / "model.pt")}
    workflow = brats.workflow(config, tmp_path, **model)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_training_leaves_its_files(trained: Path) -> None:
    history = table(trained / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    for row in history:
        assert math.isfinite(float(row["loss"])) and 0 <= float(row["validation/dice/mean"]) <= 1
        for name in SEQUENCES:
            assert math.isfinite(float(row[f"balance/{name}"]))
            assert 0 <= float(row[f"score/{name}"]) <= 1
    steps = table(trained / "modulation.csv")
    # Epochs, batches of 4 out of 4 cases x 2 slices, sequences and the network itself.
    assert len(steps) == 2 * 2 * (len(SEQUENCES) + 1)
    assert all(math.isfinite(float(r["balance"])) for r in steps if r["modality"] != "fusion")
    assert list((trained / "tensorboard").glob("events*"))
    assert sorted(json.loads((trained / "split.json").read_text())["counts"].values()) == [1, 1, 4]
    assert not any("classifier" in name for name in weights(trained))
    description = last(trained)["description"]
    assert isinstance(description, dict) and len(description.pop("trained_on")) == 4
    assert description.pop("smallest_et") in SIZES_ML
    grid = description.pop("grid")
    assert grid["voxel_mm"] == [4, 4, 4] and all(20 < side < 60 for side in grid["brain_pixels"])
    assert description == {
        "sequences": [*SEQUENCES],
        "outputs": "classes",
        "neighbors": 0,
        **NETWORK,
        "rates": [1, 2, 3],
        "ema": 0.0,
        "late_fusion": None,
        "method": "cggm",
        "modality_dropout": dict.fromkeys(SEQUENCES, 0.5),
        "absent": dict.fromkeys(SEQUENCES, 0.0),
        "architecture": "deeplabv3plus",
        "patch_size": None,
    }


@pytest.mark.parametrize("method", ["cggm", "joint"])
def test_train_evaluate_and_segment_in_one_folder(
    method: str, brats: Bundle, tmp_path: Path
) -> None:
    brats.run("train.json", tmp_path, method=method)
    brats.run("evaluate.json", tmp_path)
    brats.run("inference.json", tmp_path)
    summary = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    split = json.loads((tmp_path / "split.json").read_text())
    for protocol in ("volumetric", "tumor_slices", "random_slices"):
        for region in ("WT", "TC", "ET", "mean"):
            assert 0 <= summary[protocol][region]["mean"] <= 100
            assert summary["data"] == "synthetic gliomas (no patients) of the folder phantoms"
    assert [row["case"] for row in table(tmp_path / "evaluation" / "evaluation.csv")] == split[
        "test"
    ]
    cases = find_cases(brats.data["dataset_dir"])
    segmented = table(tmp_path / "volumes.csv")
    assert [row["case"] for row in segmented] == [case.name for case in cases]
    for case, row in zip(cases, segmented, strict=True):
        assert (tmp_path / "overlays" / f"{case.name}.png").stat().st_size > 1000
        mask = nib.load(tmp_path / "masks" / f"{case.name}.nii.gz")
        source = nib.load(case.images["flair"].path)
        assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2, 4}
        assert math.isfinite(float(row["WT_ml"])) and 0 <= float(row["WT_dice"]) <= 100
    by_name = {row["case"]: row for row in segmented}
    for row in table(tmp_path / "evaluation" / "evaluation.csv"):  # the same to the last digit
        for region in ("WT", "TC", "ET"):
            dice = float(row[f"volumetric_{region}"])
            assert float(by_name[row["case"]][f"{region}_dice"]) == pytest.approx(dice, abs=1e-6)


def test_evaluation_repeats_the_validation_of_training(brats: Bundle, tmp_path: Path) -> None:
    brats.run("train.json", tmp_path, lr=1e-4)  # hardly trained: it still predicts all classes
    workflow = brats.run("evaluate.json", tmp_path, part="val", smallest_et=0)
    metrics = workflow.parser.get_parsed_content("evaluator").state.metrics
    (row,) = table(tmp_path / "history.csv")
    names = [f"dice/{name}" for name in ("WT", "TC", "ET", "mean")]
    assert metrics["dice/WT"] > 0
    assert [metrics[name] for name in names] == pytest.approx(
        [float(row[f"validation/{name}"]) for name in names], abs=1e-9
    )


def test_weights_of_another_network_name_what_to_pass(
    brats: Bundle, trained: Path, tmp_path: Path
) -> None:
    for name in ("model.pt", "last.pt"):
        file = trained / "models" / name
        with pytest.raises(RuntimeError) as error:
            brats.run("evaluate.json", tmp_path, ckpt_path=str(file), rates=[6, 12, 18])
        # Dilations change no tensor's shape: the weights would load and segment badly.
        assert sentence(error.value) == (
            f"error: {file} was trained with rates [1, 2, 3]; this run builds [6, 12, 18]: "
            'build what was trained (--rates "[1, 2, 3]")'
        )
    swapped = ["t1", "flair", "t1ce", "t2"]
    with pytest.raises(RuntimeError) as error:
        brats.run("inference.json", tmp_path, ckpt_path=str(file), sequences=swapped)
    assert "was trained with sequences ['flair', 't1', 't1ce', 't2']" in sentence(error.value)
    out = tmp_path / "train"
    brats.run("train.json", out)
    with pytest.raises(RuntimeError) as error:
        brats.run("train.json", out, resume=True, epochs=2, channels=8)
    assert sentence(error.value) == (
        f"error: {out / 'models' / 'last.pt'} was trained with channels 16; this run builds 8: "
        "build what was trained (--channels 16)"
    )
    assert [row["epoch"] for row in table(out / "history.csv")] == ["1"]


def test_weights_without_their_description(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    bare.write_bytes((trained / "models" / "model.pt").read_bytes())
    settings: dict[str, object] = {"sequences": [*SEQUENCES], **NETWORK, "ckpt_path": str(bare)}
    with pytest.raises(RuntimeError) as error:
        brats.run("inference.json", tmp_path, **settings)
    message = sentence(error.value)
    assert message.startswith(f"error: nothing says how the network in {bare} was built: the file ")
    names = ["sequences", "encoder", "channels", "rates", "architecture", "patch_size"]
    names += ["late_fusion", "outputs", "neighbors"]
    flags = ", ".join(f"--{name}" for name in names)
    assert message.endswith(f"or pass {flags} as in training")
    # All is said, so that nothing is read beside the weights; only tensors can differ.
    settings |= {"rates": [1, 2, 3], "late_fusion": None, "outputs": "classes", "neighbors": 0}
    settings |= {"architecture": "deeplabv3plus", "patch_size": None}
    brats.run("inference.json", tmp_path / "out", **settings)
    assert len(table(tmp_path / "out" / "volumes.csv")) == 6
    with pytest.raises(RuntimeError) as error:
        brats.run("inference.json", tmp_path, **settings | {"channels": 8})
    assert sentence(error.value).startswith(f"error: {bare} belongs to another network")


def test_models_of_earlier_versions(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    """Their description has neither late fusion nor architecture; the dilations it must have."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_bytes((trained / "models" / "model.pt").read_bytes())
    description = json.loads((trained / "models" / "model.json").read_text())
    for name in ("late_fusion", "architecture", "patch_size"):
        del description[name]
    (models / "model.json").write_text(json.dumps(description))
    brats.run("evaluate.json", tmp_path, split_file=str(trained / "split.json"))
    assert (tmp_path / "evaluation" / "evaluation.json").is_file()
    del description["rates"]
    (models / "model.json").write_text(json.dumps(description))
    with pytest.raises(RuntimeError) as error:
        brats.run("evaluate.json", tmp_path)
    assert "model.json that training wrote beside it is needed" in sentence(error.value)


@pytest.mark.parametrize(("sequences", "flips"), [(SEQUENCES, False), (("flair", "t1ce"), True)])
def test_the_segmenter_gives_the_masks_of_inference(
    sequences: tuple[str, ...], flips: bool, brats: Bundle, trained: Path, tmp_path: Path
) -> None:
    """Voxel for voxel, from arrays and from files, with all sequences and with some and flips."""
    source = find_cases(brats.data["dataset_dir"])[0]
    folder = tmp_path / "in" / source.name
    folder.mkdir(parents=True)
    files = {name: folder / source.images[name].path.name for name in sequences}
    for name, file in files.items():
        file.write_bytes(source.images[name].path.read_bytes())
    weights_file = trained / "models" / "last.pt"
    brats.run(
        "inference.json",
        tmp_path / "out",
        dataset_dir=str(tmp_path / "in"),
        ckpt_path=str(weights_file),
        allow_missing=True,
        flips=flips,
    )
    written = tmp_path / "out" / "masks" / f"{source.name}.nii.gz"
    mask = nib.load(written)
    (row,) = table(tmp_path / "out" / "volumes.csv")

    images = {name: nib.load(file) for name, file in files.items()}
    arrays = {name: np.asarray(image.dataobj) for name, image in images.items()}
    result = Segmenter.from_folder(trained, flips=flips).segment(
        arrays, mask.affine, probabilities=True
    )
    assert np.array_equal(result.codes("brats2021"), mask.dataobj)
    assert {f"{name}_ml": round(ml, 3) for name, ml in result.volumes.items()} == {
        f"{name}_ml": float(row[f"{name}_ml"]) for name in ("WT", "TC", "ET")
    }
    assert result.sequences == sequences and result.probabilities is not None
    assert np.array_equal(result.probabilities.argmax(0), result.classes)
    assert np.allclose(result.probabilities.sum(0), 1, atol=1e-5)

    for number, place in enumerate((trained, trained / "models", weights_file)):
        output = tmp_path / f"mask{number}.nii.gz"
        again = Segmenter.from_folder(place, flips=flips).segment_files(files, output)
        assert np.array_equal(again.classes, result.classes) and again.probabilities is None
        assert output.read_bytes() == written.read_bytes()


def test_one_sequence_alone(brats: Bundle, tmp_path: Path) -> None:
    brats.run("train.json", tmp_path, sequences=["flair"], method="joint")
    brats.run("evaluate.json", tmp_path)
    assert {name.split(".")[1] for name in weights(tmp_path) if name.startswith("encoders.")} == {
        "flair"
    }
    summary = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert summary["sequences"] == ["flair"]


@pytest.mark.parametrize(
    "settings",
    [
        {"apply": "step"},
        {"lam": 0.0},
        {"direction": "weight"},
        {"rule": "paper"},
        {"accumulation_steps": 2, "batch_size": 2},
        {"max_norm": 0.5},
        {"sampling": "paper"},
        {"dice": "pooled"},
    ],
    ids=lambda settings: " ".join(f"{k}={v}" for k, v in settings.items()),
)
def test_settings_reach_training(
    settings: dict[str, object], brats: Bundle, tmp_path: Path
) -> None:
    brats.run("train.json", tmp_path, **settings)
    (row,) = table(tmp_path / "history.csv")
    assert all(math.isfinite(float(value)) for value in row.values())
    state = last(tmp_path)["network"]
    assert isinstance(state, dict)
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_a_run_without_validation_has_a_model_too(brats: Bundle, tmp_path: Path) -> None:
    brats.run("train.json", tmp_path, val_interval=5)
    state = last(tmp_path)["network"]
    assert isinstance(state, dict)
    assert all(torch.equal(state[name], value) for name, value in weights(tmp_path).items())


def test_a_sequence_that_a_patient_lacks(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    (case,) = (c for c in find_cases(brats.data["dataset_dir"]) if c.name == "Phantom_00000")
    folder = tmp_path / "in" / case.name
    folder.mkdir(parents=True)
    for name in ("flair", "t1ce"):
        source = case.images[name].path
        (folder / source.name).write_bytes(source.read_bytes())
    settings = {
        "dataset_dir": str(tmp_path / "in"),
        "ckpt_path": str(trained / "models" / "model.pt"),
    }
    with pytest.raises(RuntimeError) as error:
        brats.run("inference.json", tmp_path / "out", **settings)
    assert "t1" in sentence(error.value) and case.name in sentence(error.value)
    brats.run("inference.json", tmp_path / "out", allow_missing=True, **settings)
    (row,) = table(tmp_path / "out" / "volumes.csv")
    assert row["sequences"] == "flair+t1ce" and "WT_dice" not in row
