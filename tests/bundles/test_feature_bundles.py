"""The bundles on features as a whole: train, evaluate and predict on real files."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from cggm.data.errors import InputError
from cggm.data.features.feature_set import open_feature_set, write_feature_set_header, write_samples
from cggm.data.features.file import FeatureFile, write_features
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.commands.lock import LOCK

from .conftest import Bundle, command, messages


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def sentence(error: BaseException) -> str:
    """What the user reads."""
    text = explain(error)
    assert text is not None
    return text


@pytest.fixture
def out(feature_bundle: Bundle, shared: Path, tmp_path: Path) -> Path:
    """Output folder of two epochs with CGGM, a copy for each test."""
    trained = shared / f"trained-{feature_bundle.name}"
    with FileLock(shared / "lock"):
        if not (trained / "done").exists():
            feature_bundle.run("train.json", trained, epochs=2)
            (trained / "done").touch()
    return shutil.copytree(trained, tmp_path / "out")


def test_train_evaluate_predict(feature_bundle: Bundle, out: Path) -> None:
    features = open_feature_set(feature_bundle.data["dataset_dir"])
    rows = table(out / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(v)) for k, v in rows[-1].items() if "corr" not in k)
    assert all(f"balance/{name}" in rows[0] for name in features.modalities)
    split = json.loads((out / "split.json").read_text())
    assert sorted(split["train"] + split["val"] + split["test"]) == sorted(features.ids)

    # Neither the network's settings nor its classes are repeated: the checkpoint tells them.
    feature_bundle.run("evaluate.json", out)
    report = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert report["samples"] == len(split["test"])
    assert report["data"] == features.name and "generated" in report["data"]
    judged = table(out / "evaluation" / "samples.csv")
    assert sorted(row["id"] for row in judged) == sorted(split["test"])

    feature_bundle.run("inference.json", out)
    predicted = {row["id"]: row["prediction"] for row in table(out / "predictions.csv")}
    assert sorted(predicted) == sorted(features.ids), "all of a folder, whatever its split"
    for row in judged:
        if features.classes is None:
            assert float(predicted[row["id"]]) == pytest.approx(float(row["prediction"]), abs=1e-3)
        else:
            assert predicted[row["id"]] == row["prediction"]


def test_evaluation_repeats_the_validation_of_training(feature_bundle: Bundle, out: Path) -> None:
    workflow = feature_bundle.run(
        "evaluate.json", out, part="val", ckpt_path=str(out / "models" / "last.pt")
    )
    metrics = workflow.parser.get_parsed_content("evaluator").state.metrics
    row = table(out / "history.csv")[-1]
    for name, value in metrics.items():
        assert float(row[f"validation/{name}"]) == pytest.approx(value, abs=1e-6, nan_ok=True)


def test_any_subset_of_modalities_predicts(
    feature_bundle: Bundle, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = open_feature_set(feature_bundle.data["dataset_dir"]).modalities
    seen = []
    for name in names:
        feature_bundle.run("inference.json", out, modalities=[name])
        rows = table(out / "predictions.csv")
        assert {row["modalities"] for row in rows} == {name}
        others = " and ".join(other for other in names if other != name)
        remark = f"this network was never trained without {others}, so what it says"
        assert all(row["remark"].startswith(remark) for row in rows)
        warning = f"warning: {len(rows)} of {len(rows)} samples: {remark}"
        assert capsys.readouterr().err.count(warning) == 1
        seen.append([row["prediction"] for row in rows])
    assert seen[0] != seen[1]
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("inference.json", out, modalities=["smell"])
    assert f"no modality 'smell': it was trained with {names}" in sentence(error.value)


def test_one_modality_trains_alone(feature_bundle: Bundle, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"modalities": ["text"]}
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("train.json", tmp_path, **settings)
    assert "train it with the method 'joint'" in sentence(error.value)
    feature_bundle.run("train.json", tmp_path, method="joint", **settings)
    feature_bundle.run("evaluate.json", tmp_path)
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert {key.split(".")[1] for key in state if key.startswith("encoders.")} == {"text"}


def test_samples_without_labels_are_predicted_not_evaluated(
    feature_bundle: Bundle, out: Path, tmp_path: Path
) -> None:
    features = open_feature_set(feature_bundle.data["dataset_dir"])
    folder = tmp_path / "new"
    write_feature_set_header(folder, name="new", task=features.task, classes=features.classes)
    write_samples(folder, [{"id": f"new_{i}"} for i in range(3)])
    for name in features.modalities:
        samples = ((f"new_{i}", np.ones((i + 2, features.widths[name]), "f")) for i in range(3))
        write_features(folder / f"{name}.npy", samples, about={})
    feature_bundle.run("inference.json", out, dataset_dir=str(folder))
    assert [row["id"] for row in table(out / "predictions.csv")] == ["new_0", "new_1", "new_2"]
    with pytest.raises((RuntimeError, InputError)) as error:
        feature_bundle.run("evaluate.json", tmp_path / "x", dataset_dir=str(folder), part="train",
                           ckpt_path=str(out / "models" / "model.pt"))  # fmt: skip
    assert "label" in sentence(error.value)


def test_features_of_another_model_are_refused(
    feature_bundle: Bundle, out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(feature_bundle.data["dataset_dir"], folder)
    old = FeatureFile(folder / "text.npy")
    samples = [(name, old.read(name)[:, :7]) for name in old.ids]
    write_features(folder / "text.npy", samples, about={})
    for config in ("evaluate.json", "inference.json"):
        with pytest.raises(RuntimeError) as error:
            feature_bundle.run(config, out, dataset_dir=str(folder))
        assert "text.npy holds vectors of width 7, the network was trained with 32" in sentence(
            error.value
        )
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("train.json", out, dataset_dir=str(folder), epochs=3, resume=True)
    assert "was trained on data with widths" in sentence(error.value)


def test_other_classes_are_refused(feature_bundle: Bundle, out: Path, tmp_path: Path) -> None:
    features = open_feature_set(feature_bundle.data["dataset_dir"])
    if features.classes is None:
        pytest.skip("a regression has no classes")
    folder = tmp_path / "other"
    shutil.copytree(features.folder, folder)
    header = json.loads((folder / "dataset.json").read_text())
    header["classes"] = header["classes"][::-1]
    (folder / "dataset.json").write_text(json.dumps(header))
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("inference.json", out, dataset_dir=str(folder))
    assert "give data with the same classes in the same order" in sentence(error.value)


def test_weights_without_their_description_are_refused(
    feature_bundle: Bundle, out: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.pt"
    bare.write_bytes((out / "models" / "model.pt").read_bytes())
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("inference.json", out, ckpt_path=str(bare))
    assert sentence(error.value) == (
        f"error: nothing says how the network in {bare} was built: the file "
        f"{tmp_path / 'bare.json'} that training wrote beside it is needed, with "
        "modalities, widths, classes; copy both"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"apply": "step"},
        {"lam": 0.0},
        {"direction": "weight"},
        {"rule": "paper"},
        {"accumulation_steps": 2, "batch_size": 8},
        {"max_length": 3},
        {"num_workers": 1},
        {"max_norm": None},
    ],
    ids=lambda settings: " ".join(f"{k}={v}" for k, v in settings.items()),
)
def test_settings_reach_training(
    settings: dict[str, Any], feature_bundle: Bundle, tmp_path: Path
) -> None:
    feature_bundle.run("train.json", tmp_path, **settings)
    state = torch.load(tmp_path / "models" / "last.pt", weights_only=True)["network"]
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_every_score_and_every_selection_works(feature_bundle: Bundle, tmp_path: Path) -> None:
    if feature_bundle.name == "mosi":
        scores, metrics = ("mae", "acc2"), ("mae", "corr", "acc2/negative_nonnegative")
    else:
        scores, metrics = ("accuracy", "probability"), ("accuracy", "f1/macro")
    for score in scores:
        feature_bundle.run("train.json", tmp_path / score, score=score)
    for number, metric in enumerate(metrics):
        out = tmp_path / str(number)
        feature_bundle.run("train.json", out, select=metric, epochs=3)
        values = [float(row[f"validation/{metric}"]) for row in table(out / "history.csv")]
        best = min(values) if metric == "mae" else max(values)
        last = torch.load(out / "models" / "last.pt", weights_only=True)
        assert last["best"]["metric"] == pytest.approx(best)
        assert last["best"]["epoch"] == values.index(best) + 1


def test_the_command_says_one_sentence_for_a_mistake(
    feature_bundle: Bundle, tmp_path: Path
) -> None:
    words = feature_bundle.words("train.json", tmp_path / "out", dataset_dir="nowhere")
    done = command(["-m", "monai.bundle", *words], tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = messages(done.stderr)
    assert line.startswith("error: ") and "nowhere" in line
    files = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == [LOCK]


def test_too_few_samples_for_a_batch_are_refused(feature_bundle: Bundle, tmp_path: Path) -> None:
    """MONAI itself would warn, train nothing and end well."""
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("train.json", tmp_path, batch_size=512)
    assert "96 training samples give no batch of 512" in sentence(error.value)
    assert "--batch_size 96) or less" in sentence(error.value)


def test_features_of_another_encoder_of_the_same_width_are_refused(
    feature_bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(feature_bundle.data["dataset_dir"], folder)

    def extracted(model: str) -> None:
        old = FeatureFile(folder / "text.npy")
        samples = [(name, old.read(name)) for name in old.ids]
        about = {"model": model, "revision": "1", "pooling": "mean"}
        write_features(folder / "text.npy", samples, about=about)

    settings = {"dataset_dir": str(folder)}
    extracted("bert-base-uncased")
    feature_bundle.run("train.json", tmp_path / "out", **settings)
    feature_bundle.run("inference.json", tmp_path / "out", **settings)
    extracted("bert-base-cased")
    with pytest.raises(RuntimeError) as error:
        feature_bundle.run("inference.json", tmp_path / "out", **settings)
    assert (
        "text.npy has features with model 'bert-base-cased', the network was trained on those with "
        "'bert-base-uncased'"
    ) in sentence(error.value)
