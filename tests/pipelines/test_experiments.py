"""Do grids run, go on, report failures, and end in tables whose numbers are right?"""

import csv
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cggm.data.errors import InputError
from cggm.data.features.generated import generate_feature_set
from cggm.pipelines.experiments.__main__ import main
from cggm.pipelines.experiments.children import Children, Stopped, free_memory
from cggm.pipelines.experiments.collect import collect
from cggm.pipelines.experiments.execute import execute
from cggm.pipelines.experiments.grid import plan
from cggm.pipelines.experiments.published import published
from cggm.pipelines.experiments.record import surroundings, write_record
from cggm.pipelines.experiments.run import Run
from cggm.pipelines.experiments.schedule import Schedule
from cggm.pipelines.experiments.statistics import difference, holm, summarize
from cggm.pipelines.experiments.write import write_tables

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
        main(["run", *words])
    return int(end.value.code or 0)


def finished(output: Path, name: str, row: str, seed: int, method: str, **other: Any) -> None:
    """What a finished run leaves, without running it."""
    figures = other.pop("figures")
    tested_on = other.pop("tested_on", "stand-in")
    run = Run("mosi" if "mae" in figures else "food101", name, method, row, seed, **other)
    record = {
        **run.identity(),
        **surroundings(),
        "state": "finished",
        "seconds": {"train": 20.0 if method == "cggm" else 10.0, "evaluate": 1.0},
        "seconds_known": True,
        "tested_on": tested_on,
        "samples": 100,
        "figures": {row: figures},
    }
    write_record(run.folder(output), record)


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
        main(["run", str(tmp_path / "grid.json")])
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        main(["run", "nowhere.json"])


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
        main(["run", *words, "--epochs", "2"])

    main(["tables", str(output)])
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


# --- statistics


def test_differences_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(1, 1, 8), generator.normal(0, 1, 8)
    found = difference(dict(enumerate(ours)), dict(enumerate(theirs)) | {99: 5.0})
    test = stats.ttest_rel(ours, theirs)
    assert found is not None and found.interval is not None and found.count == 8
    assert found.p == pytest.approx(test.pvalue)
    assert found.mean == pytest.approx((ours - theirs).mean())
    half = stats.t.ppf(0.975, 7) * stats.sem(ours - theirs)
    assert found.interval == pytest.approx((found.mean - half, found.mean + half))
    summary = summarize(list(ours))
    assert summary is not None and summary.sd == pytest.approx(ours.std(ddof=1))


def test_nothing_is_said_that_seeds_do_not_say() -> None:
    two = difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 1.0})
    assert two is not None and (two.mean, two.interval, two.p) == (1.5, None, None)
    same = difference({0: 0.3, 1: 0.4, 2: 0.5}, {0: 0.2, 1: 0.3, 2: 0.4})
    assert same is not None and (same.interval, same.p) == (None, None)
    assert difference({0: 1.0}, {1: 1.0}) is None
    one = summarize([2.0])
    assert one is not None and one.sd is None
    assert summarize([]) is None


def test_holm_rejects_what_stepping_down_rejects() -> None:
    """By its definition: at every level, reject while p(k) <= level / (m - k)."""
    ps = [0.011, 0.2, 0.013, 0.04, 0.0004]
    corrected = holm(ps)
    for level in np.linspace(0.0015, 0.999, 200):
        rejected = set()
        for rank, i in enumerate(np.argsort(ps)):
            if ps[i] > level / (len(ps) - rank):
                break
            rejected.add(int(i))
        assert {i for i, p in enumerate(corrected) if p is not None and p <= level} == rejected
    assert holm([None, 0.5]) == [None, 0.5]


# --- tables


def test_a_table_has_means_differences_marks_and_costs(tmp_path: Path) -> None:
    joint, cggm = [80.0, 81.0, 83.0], [82.0, 84.0, 84.5]
    for seed in range(3):
        finished(tmp_path, "d", "joint", seed, "joint", figures={"accuracy": joint[seed]})
        finished(tmp_path, "d", "cggm", seed, "cggm", figures={"accuracy": cggm[seed]})
        finished(tmp_path, "d", "agm & co", seed, "agm", figures={"accuracy": 70.0 + seed})
        alone = {"alone": ("text",), "figures": {"accuracy": 60.0}}
        finished(tmp_path, "d", "text only", seed, "unimodal", **alone)
    names = [path.name for path in write_tables(tmp_path, tmp_path / "tables")]
    assert names == ["d.md", "d.tex", "d.csv", "index.html"]
    text = (tmp_path / "tables/d.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "text only",
        "joint",
        "agm & co",
        "cggm",
    ]
    assert "**83.50 ± 1.32**" in text and "<u>81.33 ± 1.53</u>" in text
    test = stats.ttest_rel(cggm, joint)
    corrected = min(1.0, test.pvalue * 1)  # the larger of the two p-values
    low, high = test.confidence_interval()
    assert f"+2.17 [{low:+.2f}, {high:+.2f}], p = {corrected:.3f}" in text
    assert "| 2.00 × |" in lines[-1] and "| 1.00 × |" in lines[3] and "| – |" in lines[2]
    assert "best validation, by the same rule" in text and "paper" not in lines[0]
    assert r"agm \& co" in (tmp_path / "tables/d.tex").read_text()
    page = (tmp_path / "tables/index.html").read_text()
    assert "agm &amp; co" in page and "class='best'>83.50" in page and "http" not in page
    with open(tmp_path / "tables/d.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert float(rows["cggm"]["p"]) == pytest.approx(test.pvalue)
    assert float(rows["cggm"]["relative_training_time"]) == 2
    assert rows["joint"]["difference_to_joint"] == ""


def test_smaller_errors_are_better_and_extensions_are_marked(tmp_path: Path) -> None:
    for row, mae in (("joint", 0.9), ("qualm", 0.8)):
        figures = {"mae": mae, "corr": 0.7}
        finished(tmp_path, "d", row, 0, "joint" if row == "joint" else "ume", figures=figures)
    write_tables(tmp_path, tmp_path)
    text = (tmp_path / "d.md").read_text()
    assert "qualm † | 1 | **0.800**" in text and "<u>0.900</u>" in text
    assert "0.700" in text and "**0.700**" not in text  # equal figures are not ranked
    assert "one seed" in text


def test_the_papers_figures_stand_beside_its_own_data_only(tmp_path: Path) -> None:
    figures = {"mae": 1.0, "corr": 0.6, "acc7": 30.0}
    finished(tmp_path, "a", "joint", 0, "joint", figures=figures, tested_on="CMU-MOSI")
    finished(tmp_path, "b", "joint", 0, "joint", figures=figures)
    write_tables(tmp_path, tmp_path)
    assert "MAE, paper" in (tmp_path / "a.md").read_text()
    assert "0.952" in (tmp_path / "a.md").read_text()
    assert "paper" not in (tmp_path / "b.md").read_text()


def test_names_that_are_and_are_not_the_papers() -> None:
    for name in ("UPMC-Food 101", "CMU-MOSI", "IEMOCAP, fold 1", "/d/BraTS2021_Training_Data"):
        assert published(name) is not None
    for name in (
        "generated features (no real samples): mosi",
        "CMU-MOSEI",
        "IFCT 2017 foods",
        "embedded synthetic gliomas (no patients)",
        "/d/BraTS2020_TrainingData",
    ):
        assert published(name) is None


def test_runs_on_other_data_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no finished run"):
        collect(tmp_path)
    finished(tmp_path, "d", "joint", 0, "joint", figures={"accuracy": 1.0})
    finished(tmp_path, "d", "cggm", 0, "cggm", figures={"accuracy": 1.0}, tested_on="others")
    with pytest.raises(InputError, match=r"'d' were tested on others .* and stand-in"):
        collect(tmp_path)
