"""Do grids run, go on, report failures, and end in tables?"""

import csv
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.data.features.generated import generate_feature_set
from cggm.pipelines.experiments.__main__ import main
from cggm.pipelines.experiments.children import Children, Stopped, free_memory
from cggm.pipelines.experiments.execute import execute
from cggm.pipelines.experiments.grid import plan
from cggm.pipelines.experiments.schedule import Schedule
from cggm.pipelines.report.__main__ import main as report
from cggm.pipelines.report.collect import collect

TINY = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1, "epochs": 1, "batch_size": 16}


@pytest.fixture(autouse=True)
def _restore_process() -> Iterator[None]:
    """The command replaces the hook for exceptions and what a signal does."""
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def foods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_feature_set("food101", tmp_path_factory.mktemp("data") / "foods", samples=160)


def run_command(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


# --- the grid


def test_a_grid_has_every_method_with_every_seed() -> None:
    grid = {
        "bundle": ["food101", {"name": "food101", "as": "mine", "settings": {"dataset_dir": "x"}}],
        "methods": ["joint", {"name": "cggm", "as": "printed rule", "settings": {"rule": "paper"}}],
        "seeds": 2,
        "settings": {"epochs": 5},
        "unimodal": True,
    }
    runs = plan(grid)
    assert [run.name for run in runs[:3]] == [
        "food101, joint, seed 0",
        "food101, printed rule, seed 0",
        "food101, unimodal, seed 0",
    ]
    assert len(runs) == 2 * 2 * 3
    assert runs[2].alone == ("image", "text")
    assert runs[1].folder(Path("out")) == Path("out/food101/printed_rule/seed-0")
    assert runs[-1].settings == {"epochs": 5, "dataset_dir": "x"}


def test_single_sequences_are_trainings_of_their_own() -> None:
    runs = plan({"bundle": "brats", "methods": ["joint"], "unimodal": True})
    assert [run.label for run in runs] == [
        "joint",
        "flair only",
        "t1 only",
        "t1ce only",
        "t2 only",
    ]
    assert runs[1].modalities == ("flair",) and runs[1].single


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "joint"}, r"a grid has no entry 'method'; did you mean 'methods'\?"),
        ({"bundle": "food"}, r"no bundle is called 'food'; there are \['brats', 'food101'"),
        ({"methods": []}, r"the grid says no 'methods'"),
        ({"methods": ["cgm"]}, r"food101, cgm: no method is called 'cgm'; did you mean"),
        ({"methods": ["joint", "joint"]}, r"two runs for the folder food101/joint/seed-0"),
        ({"methods": [{"name": "cggm", "setting": {}}]}, r"'cggm' has the entry 'setting'"),
        ({"seeds": [1, 1]}, r"'seeds' is \[1, 1\] in the grid; expected different whole numbers"),
        ({"settings": {"epoch": 1}}, r"no setting is called 'epoch'; did you mean 'epochs'"),
        ({"settings": {"rho": 1.0}}, r"food101, joint: 'rho' is a setting of cggm"),
        ({"settings": {"seed": 1}}, r"the grid sets 'seed', which experiments set themselves"),
        ({"settings": {"modalities": ["text"]}}, r"name them in the grid's entry 'modalities'"),
        ({"modalities": ["txt"]}, r"food101 has no modality 'txt'; it has image, text"),
        ({"unimodal": "yes"}, r"'unimodal' is 'yes' in the grid; it is true or false"),
    ],
)
def test_a_mistake_in_the_grid_is_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan({"bundle": "food101", "methods": ["joint"], **change})


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text("{'bundle'")
    with pytest.raises(InputError, match=r"grid\.json is not JSON .*; a grid is"):
        main([str(tmp_path / "grid.json")])
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        main(["nowhere.json"])


# --- real runs


@pytest.mark.slow
def test_runs_are_done_once_and_a_failure_stops_no_other(
    foods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    grid = {
        "bundle": {"name": "food101", "as": "foods", "settings": {"dataset_dir": str(foods)}},
        "methods": [
            {"name": "cggm", "as": "broken", "settings": {"rho": -1.0}},
            "joint",
            {"name": "cggm", "as": "printed rule", "settings": {"rule": "paper"}},
        ],
        "seeds": [3],
        "settings": TINY,
    }
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    words = [str(tmp_path / "grid.json"), "--output", str(output)]
    assert run_command(*words) == 1
    record = json.loads((output / "foods/printed_rule/seed-3/run.json").read_text())
    assert record["state"] == "finished" and record["exit_code"] == 0 and record["seed"] == 3
    assert record["settings"] == {**TINY, "dataset_dir": str(foods)}
    assert set(record["versions"]) >= {"cggm", "torch", "monai"}
    written = json.loads((output / "foods/joint/seed-3/evaluation/evaluation.json").read_text())
    joint = json.loads((output / "foods/joint/seed-3/run.json").read_text())
    assert written["part"] == "test"
    assert joint["figures"]["joint"]["accuracy"] == written["figures"]["accuracy"]["value"]
    failure = (output / "foods/broken/seed-3/failed.txt").read_text()
    assert failure.startswith("train.json ended with exit code 1") and "rho" in failure

    # The next call does the rest, which is nothing.
    capsys.readouterr()
    grid["methods"] = grid["methods"][1:]  # type: ignore[index]
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    before = (output / "foods/joint/seed-3/run.json").stat().st_mtime_ns
    assert run_command(*words) == 0
    assert "2 runs, 2 of them finished already" in capsys.readouterr().out
    assert (output / "foods/joint/seed-3/run.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"other settings \(epochs is 1 there, 2 here\); choose"):
        main([*words, "--epochs", "2"])

    report([str(output)])
    text = (output / "tables/foods.md").read_text()
    assert "generated features (no real samples): food101, 40 tested" in text
    assert "printed rule: cggm with rule paper" in text
    assert "broken, seed 3: failed" in text


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_modalities_are_tested_alone(foods: Path, tmp_path: Path) -> None:
    settings = {**TINY, "epochs": 40, "dataset_dir": str(foods)}
    (run,) = plan({"bundle": "food101", "methods": ["unimodal"], "settings": settings})
    folder = run.folder(tmp_path)
    children = Children()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            execute(run, tmp_path, children)
        except Stopped as stopped:
            ended.append(stopped)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 120
    while not (folder / "models" / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    children.close()
    thread.join()
    assert ended and json.loads((folder / "run.json").read_text())["state"] == "stopped"

    (record,) = Schedule([run], tmp_path, jobs=2, show=False).work().values()
    assert record["state"] == "finished", (folder / "failed.txt").read_text()
    with open(folder / "history.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 41))
    assert "resum" in (folder / "logs" / "train.out").read_text().lower()
    assert set(record["figures"]) == {"image only", "text only"}
    (data,) = collect(tmp_path)
    assert [row.label for row in data.rows] == ["image only", "text only"]


def test_a_child_ends_with_its_code_or_when_told(tmp_path: Path) -> None:
    children = Children()
    assert children.call("a", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "a") == 3
    ended: list[bool] = []

    def work() -> None:
        with pytest.raises(Stopped):
            children.call(
                "b", [sys.executable, "-c", "__import__('time').sleep(60)"], tmp_path / "b"
            )
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    held: dict[str, float] | None = {}
    while held is not None and held.get("b", 0) == 0:
        held = children.memory()
    if sys.platform.startswith("linux"):
        assert held is not None and 0 < held["b"] < 1
        assert free_memory()
    children.stop("b")
    thread.join()
    assert ended
    with pytest.raises(Stopped):
        children.call("b", [sys.executable, "-c", "pass"], tmp_path / "b")
