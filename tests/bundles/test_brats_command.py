"""The BraTS bundle as a user starts it: `python -m monai.bundle run`, and torchrun."""

import csv
import json
from pathlib import Path

import pytest
from filelock import FileLock

from cggm.pipelines.commands.lock import LOCK

from .conftest import Bundle, command, commands, messages


def history(out: Path) -> list[dict[str, str]]:
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_trains(brats: Bundle, tmp_path: Path) -> None:
    done = command(["-m", "monai.bundle", *brats.words("train.json", tmp_path / "out")], tmp_path)
    assert done.returncode == 0, done.stderr
    assert messages(done.stderr) == []
    said = done.stdout.splitlines()
    lines = said[said.index("device: cpu") :]  # behind MONAI's own list of settings
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "device",
        "trained parameters",
        "batches per epoch",
        "data",
        "cases",
        "method",
        "output",
    ]
    assert lines[-1].startswith("epoch 1/1  loss ") and "balance flair" in lines[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["out"], "nothing is written elsewhere"
    assert (tmp_path / "out" / "models" / "model.pt").is_file()


@pytest.fixture(scope="module")
def refused(brats: Bundle, shared: Path) -> dict[str, tuple]:
    """Exit code, stdout, stderr and the folder of commands that should end with one sentence."""
    folder, kept = shared / "refused", shared / "refused.json"
    with FileLock(shared / "lock"):
        if not kept.exists():
            kept.write_text(json.dumps(run_mistakes(brats, folder)))
    found = json.loads(kept.read_text())
    return {name: (*result, folder / name.replace(" ", "_")) for name, result in found.items()}


def run_mistakes(brats: Bundle, folder: Path) -> dict[str, tuple[int, str, str]]:
    (folder / "empty").mkdir(parents=True)
    (folder / "file").write_text("no folder")
    (folder / "broken" / "P1").mkdir(parents=True)
    for ending in ("flair", "t1", "t1ce", "t2", "seg"):
        for number in range(1, 4):
            path = folder / "broken" / f"P{number}" / f"P{number}_{ending}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\x1f\x8b" + bytes(30))
    settings: dict[str, tuple[str, dict]] = {
        "typo": ("train.json", {"epoch": 1}),
        "nested typo": ("train.json", {"optimizer#learning_rate": 1}),
        "method": ("train.json", {"method": "cgm"}),
        "setting of another method": ("train.json", {"method": "joint", "rho": 2}),
        "number": ("train.json", {"epochs": "many"}),
        "missing data": ("train.json", {"dataset_dir": "nowhere"}),
        "empty data": ("train.json", {"dataset_dir": "empty"}),
        "broken data": ("train.json", {"dataset_dir": "broken"}),
        "no weights": ("evaluate.json", {}),
        "no weights to segment": ("inference.json", {}),
        "output is a file": ("train.json", {"output_dir": "file"}),
        "sampling": ("train.json", {"sampling": "tumour"}),
        "too few": ("train.json", {"batch_size": 64}),
    }
    words = []
    for name, (config, overrides) in settings.items():
        out = Path(overrides.pop("output_dir", name.replace(" ", "_")))
        words.append(brats.words(config, out, **overrides))
    return dict(zip(settings, commands(words, folder), strict=True))


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        (
            "typo",
            "error: no setting is called 'epoch' (did you mean 'epochs'?). The settings are: ",
        ),
        ("nested typo", "error: 'optimizer' has no entry 'learning_rate'"),
        ("method", "error: no method is called 'cgm' (did you mean 'cggm'?)"),
        ("setting of another method", "error: 'rho' is a setting of cggm, but the method is"),
        ("number", "error: 'epochs' is a number such as "),
        ("missing data", "error: nowhere does not exist; expected a folder of BraTS cases"),
        ("empty data", "error: no case was recognized in empty: found 0 NIfTI files"),
        (
            "no weights",
            "error: the weights no_weights/models/last.pt cannot be read: there is no such file; "
            "train first, or pass",
        ),
        ("no weights to segment", "error: the weights no_weights_to_segment/models/last.pt"),
        ("output is a file", "error: the output folder file is a file; choose another one"),
        ("sampling", "error: sampling is 'tumour'; expected one of tumor, paper, all"),
        ("too few", "error: 1 epochs of 0 batches leave nothing to train; is a batch larger than"),
    ],
)
def test_a_mistake_is_one_sentence(name: str, beginning: str, refused: dict[str, tuple]) -> None:
    code, _, err, out = refused[name]
    assert code == 1
    assert "Traceback" not in err
    (line,) = messages(err)
    assert line.startswith(beginning)
    written = [path.name for path in out.rglob("*") if path.is_file()]
    assert set(written) <= {"split.json", LOCK}


def test_all_broken_cases_are_named(refused: dict[str, tuple]) -> None:
    code, _, err, out = refused["broken data"]
    assert code == 1 and "Traceback" not in err
    assert messages(err)[0].startswith("error: ")
    assert all(f"P{number}" in err for number in (1, 2, 3))
    assert [path.name for path in out.rglob("*") if path.is_file()] == [LOCK]


def test_mlflow_keeps_settings_and_balance_curves(brats: Bundle, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    words = brats.words("train.json", tmp_path / "out", epochs=2, rho=1.1, lam=0.2)
    (result,) = commands([[*words, "--tracking", "mlflow"]], tmp_path)
    assert result[0] == 0, result[2]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/out/mlruns.db")
    experiment = client.get_experiment_by_name("monai_experiment")
    (run,) = client.search_runs(experiment.experiment_id)
    assert run.data.params["methods/cggm/rho"] == "1.1"
    assert run.data.params["methods/cggm/lam"] == "0.2"
    assert run.data.params["method"] == "cggm"
    rows = history(tmp_path / "out")
    for sequence in ("flair", "t1", "t1ce", "t2"):
        curve = client.get_metric_history(run.info.run_id, f"balance/{sequence}")
        assert [point.step for point in curve] == [1, 2]
        expected = [float(row[f"balance/{sequence}"]) for row in rows]
        assert [point.value for point in curve] == pytest.approx(expected)
