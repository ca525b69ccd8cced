"""No run misleads: a resumed one is the one that was stopped, and tests see no training sample."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cggm.data.features.feature_set import open_feature_set, write_samples
from cggm.data.features.file import FeatureFile, write_features
from cggm.pipelines.commands.failures import explain

from .conftest import Bundle, make_bundle


@pytest.fixture(scope="session")
def mosi(shared: Path) -> Bundle:
    """The bundle on samples without a published split."""
    bundle = make_bundle("mosi", shared)
    folder = shared / "mosi-undivided"
    with FileLock(shared / "lock"):
        if not folder.exists():
            shutil.copytree(bundle.data["dataset_dir"], shared / "copying")
            features = open_feature_set(shared / "copying")
            rows = [{"id": name, "label": features.labels[name]} for name in features.ids]
            write_samples(shared / "copying", rows)
            (shared / "copying").rename(folder)
    data = bundle.data | {"dataset_dir": str(folder)}
    return Bundle("mosi", data, training=bundle.training)


@pytest.fixture
def out(mosi: Bundle, shared: Path, tmp_path: Path) -> Path:
    """Output folder of a training with another split than the default one; a copy."""
    with FileLock(shared / "lock"):
        if not (shared / "same-run" / "done").exists():
            mosi.run("train.json", shared / "same-run", split_seed=3, max_length=2)
            (shared / "same-run" / "done").touch()
    return shutil.copytree(shared / "same-run", tmp_path / "out")


def refusal(bundle: Bundle, config: str, out: Path, **settings: Any) -> str:
    """The sentence with which a run ends."""
    with pytest.raises((RuntimeError, ValueError)) as error:
        bundle.run(config, out, **settings)
    sentence = explain(error.value)
    assert sentence is not None, "a fault of the program"
    return sentence


def ids(file: Path) -> set[str]:
    with open(file, newline="") as rows:
        return {row["id"] for row in csv.DictReader(rows)}


def test_evaluation_tests_what_training_left(mosi: Bundle, out: Path, tmp_path: Path) -> None:
    mosi.run("evaluate.json", out)
    split = json.loads((out / "split.json").read_text())
    assert ids(out / "evaluation" / "samples.csv") == set(split["test"])

    split["train"], split["test"] = split["train"][30:], split["test"] + split["train"][:30]
    (tmp_path / "mine.json").write_text(json.dumps(split))
    mosi.run("train.json", tmp_path / "b", split_file=str(tmp_path / "mine.json"))
    mosi.run("evaluate.json", tmp_path / "b")
    assert ids(tmp_path / "b" / "evaluation" / "samples.csv") == set(split["test"])


def test_testing_on_training_samples_is_refused(mosi: Bundle, out: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "last.pt"):
        elsewhere = {"ckpt_path": str(out / "models" / name)}
        sentence = refusal(mosi, "evaluate.json", tmp_path / "a", **elsewhere)
        assert "samples of the part test were trained on" in sentence
        assert (
            "pass the --output_dir of the training, or its split.json as --split_file" in sentence
        )
    mosi.run("evaluate.json", tmp_path / "a", part="train", **elsewhere)
    mosi.run("evaluate.json", tmp_path / "a", samples="$@split[@part]", **elsewhere)
    split = str(out / "split.json")
    mosi.run("evaluate.json", tmp_path / "b", split_file=split, **elsewhere)
    assert "holds another split" in refusal(
        mosi, "evaluate.json", tmp_path / "a", split_file=split, **elsewhere
    )


def test_evaluation_cuts_sequences_as_training_did(mosi: Bundle, out: Path) -> None:
    workflow = mosi.run("evaluate.json", out, part="val")
    metrics = workflow.parser.get_parsed_content("evaluator").state.metrics
    with open(out / "history.csv", newline="") as rows:
        (row,) = csv.DictReader(rows)
    assert float(row["validation/mae"]) == pytest.approx(metrics["mae"], abs=1e-6)
    for config in ("evaluate.json", "inference.json"):
        parser = mosi.workflow(config, out).parser
        assert parser.get_parsed_content("dataset").max_length == {
            "text": 2,
            "audio": 2,
            "vision": 2,
        }


def test_lengths_by_modality_fit_any_subset(mosi: Bundle, tmp_path: Path) -> None:
    mosi.run("train.json", tmp_path, max_length={"text": 3, "audio": 2})
    mosi.run("evaluate.json", tmp_path, modalities=["audio", "vision"])
    mosi.run("inference.json", tmp_path, modalities=["text"])


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("select", "corr", "was trained with select mae; this run has corr: resume with those"),
        ("score", "acc2", "score mae; this run has acc2"),
        ("rho", 2.0, "methods#cggm#rho 1.3; this run has 2.0: resume with"),
        ("rule", "paper", "methods#cggm#rule bounded; this run has paper"),
        ("apply", "step", "methods#cggm#apply gradient"),
        ("dropout", 0.3, "dropout 0.15; this run has 0.3"),
        ("max_length", None, "this run builds None: build what was trained (--max_length 2)"),
        ("max_norm", None, "max_norm 0.8; this run has None: resume with"),
        ("lr", 0.5, "resume with those of the first run (--lr 0.001), or train anew in another"),
        ("lr_step", 3, "lr_step 8; this run has 3"),
        ("weight_decay", 0.7, "weight_decay 0.0; this run has 0.7"),
        ("batch_size", 17, "batch_size 16; this run has 17"),
        ("limits", [-2, 2], 'has [-2, 2]: resume with those of the first run (--limits "[-3, 3]")'),
        ("val_fraction", 0.2, "made with val_fraction 0.1, now it is 0.2"),
    ],
)
def test_resuming_with_another_setting_is_refused(
    setting: str, value: Any, words: str, mosi: Bundle, out: Path
) -> None:
    first = {"split_seed": 3, "max_length": 2}
    resumed = {"resume": True, "epochs": 2} | first | {setting: value}
    assert words in refusal(mosi, "train.json", out, **resumed)


def test_resuming_on_other_data_is_refused(mosi: Bundle, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(mosi.data["dataset_dir"], folder)
    resumed: dict[str, Any] = {"resume": True, "epochs": 2, "split_seed": 3, "max_length": 2}
    resumed["dataset_dir"] = str(folder)
    old = FeatureFile(folder / "text.npy")
    samples = [(name, 2 * old.read(name)) for name in old.ids]
    write_features(folder / "text.npy", samples, about=old.about)
    assert "was trained on other data (the features of text differ): resume with" in refusal(
        mosi, "train.json", out, **resumed
    )
    for name in ("text.npy", "text.npy.json"):
        (folder / name).unlink()  # a copy into a file that is mapped would change what is read
        shutil.copy(Path(mosi.data["dataset_dir"]) / name, folder / name)
    changed = json.loads((out / "split.json").read_text())["train"][0]
    labels = open_feature_set(folder).labels | {changed: 0.123}
    write_samples(folder, [{"id": name, "label": label} for name, label in labels.items()])
    assert "(the training samples differ)" in refusal(mosi, "train.json", out, **resumed)
    shutil.copy(Path(mosi.data["dataset_dir"]) / "samples.csv", folder / "samples.csv")
    mosi.run("train.json", out, **resumed)


def test_the_same_holds_for_cases(brats: Bundle, trained: Path, tmp_path: Path) -> None:
    mine = {"split_seed": 1}
    brats.run("train.json", tmp_path / "a", **mine)
    brats.run("evaluate.json", tmp_path / "a")
    split = json.loads((tmp_path / "a" / "split.json").read_text())
    with open(tmp_path / "a" / "evaluation" / "evaluation.csv", newline="") as rows:
        assert [row["case"] for row in csv.DictReader(rows)] == split["test"]
    elsewhere = {"ckpt_path": str(tmp_path / "a" / "models" / "model.pt")}
    assert split["test"] != json.loads((trained / "split.json").read_text())["test"]
    assert "samples of the part test were trained on" in refusal(
        brats, "evaluate.json", tmp_path / "b", **elsewhere
    )
    resumed = {"resume": True, "epochs": 2, **mine}
    assert (
        "was trained with scheduler#epochs 1; this run has 2: resume with those of the first run "
        "(--scheduler#epochs 1)"
    ) in refusal(brats, "train.json", tmp_path / "a", **resumed)
    resumed["scheduler#epochs"] = 1
    for setting, value in (("momentum", 0.5), ("augmentation", 0.5), ("dice", "pooled")):
        assert f"was trained with {setting} " in refusal(
            brats, "train.json", tmp_path / "a", **resumed, **{setting: value}
        )
    brats.run("train.json", tmp_path / "a", **resumed)
