"""Do grids run, go on, report failures, and end in tables?"""

import _thread
import contextlib
import csv
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from cggm.data.errors import InputError
from cggm.data.features.generated import generate_feature_set
from cggm.pipelines.research.experiments.__main__ import main
from cggm.pipelines.research.experiments.children import FORKS, Children, Stopped
from cggm.pipelines.research.experiments.grid import plan
from cggm.pipelines.research.experiments.local import Local
from cggm.pipelines.research.experiments.memory import free_memory
from cggm.pipelines.research.experiments.schedule import Schedule
from cggm.pipelines.research.report.write import write_tables

TINY = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1, "epochs": 1, "batch_size": 16}

WAIT = ["timeit", "-n", "1", "-r", "1"]


@pytest.fixture(scope="module")
def foods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_feature_set("food101", tmp_path_factory.mktemp("data") / "foods", samples=160)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.is_file()


def interrupt_after(path: Path) -> None:
    """Press Ctrl-C once a file is there."""
    wait_for(path)
    os.kill(os.getpid(), signal.SIGINT)


def writers(log: Path) -> list[int]:
    """Processes whose standard output or error goes to a file."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/[12]"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.readlink(link) == str(log):
                found.add(int(link.parts[2]))
    return sorted(found)


def run_command(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


@pytest.mark.slow
def test_runs_are_done_once_and_a_failure_stops_no_other(
    foods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    grid = {
        "bundle": {"name": "food101", "as": "foods", "settings": {"dataset_dir": str(foods)}},
        "methods": [
            {"name": "cggm", "as": "broken", "settings": {"batch_size": 1000}},
            {"name": "joint", "as": "blocked"},
            "joint",
            {"name": "cggm", "as": "printed rule", "settings": {"rule": "paper"}},
        ],
        "seeds": [3],
        "settings": TINY,
    }
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    (output / "foods").mkdir(parents=True)
    (output / "foods/blocked").write_text("a file where the run's folder would be")
    words = [str(tmp_path / "grid.json"), "--output", str(output)]
    assert run_command(*words) == 1
    told = capsys.readouterr()
    assert "foods, blocked, seed 3: failed: " in told.out and "cannot be written" in told.err
    record = json.loads((output / "foods/printed_rule/seed-3/run.json").read_text())
    assert record["state"] == "finished" and record["exit_code"] == 0 and record["seed"] == 3
    assert record["settings"] == {**TINY, "dataset_dir": str(foods)}
    assert set(record["versions"]) >= {"cggm", "torch", "monai"}
    kept = json.loads((output / "foods/printed_rule/seed-3/configuration/train.json").read_text())
    assert (kept["method"], kept["seed"], kept["rule"], kept["epochs"]) == ("cggm", 3, "paper", 1)
    assert kept["methods"]["cggm"]["rule"] == "@rule" and kept["dataset_dir"] == str(foods)
    written = json.loads((output / "foods/joint/seed-3/evaluation/evaluation.json").read_text())
    joint = json.loads((output / "foods/joint/seed-3/run.json").read_text())
    assert written["part"] == "test"
    assert joint["figures"]["joint"]["accuracy"] == written["figures"]["accuracy"]["value"]
    failure = (output / "foods/broken/seed-3/failed.txt").read_text()
    assert failure.startswith("error: 96 training samples give no batch of 1000")
    assert failure.splitlines()[1:] == ["", "train.json ended with exit code 1"]

    # The next call does the rest, which is nothing.
    grid["methods"] = grid["methods"][2:]  # type: ignore[index]
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    before = (output / "foods/joint/seed-3/run.json").stat().st_mtime_ns
    assert run_command(*words) == 0
    assert "2 runs, 2 of them finished already" in capsys.readouterr().out
    assert (output / "foods/joint/seed-3/run.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"other settings \(epochs is 1 there, 2 here\); choose"):
        main([*words, "--epochs", "2"])

    write_tables(output, output / "tables")
    text = (output / "tables/foods.md").read_text()
    assert "generated features (no real samples): food101, 40 tested" in text
    assert "printed rule: cggm with rule paper" in text
    assert "broken, seed 3: failed" in text


@pytest.mark.slow
def test_ctrl_c_ends_all_and_the_same_command_goes_on(
    foods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"{name}={value}" for name, value in {**TINY, "epochs": 30}.items()]
    words = ["--bundle", "food101", "--methods", "unimodal", "--output", str(tmp_path)]
    words += ["--settings", f"dataset_dir={foods}", *settings]
    folder = tmp_path / "food101/unimodal/seed-0"
    told = threading.Thread(target=interrupt_after, args=(folder / "models/last.pt",))
    told.start()
    assert run_command(*words) == 130
    told.join()
    assert "stopped by the user with 0 of 1 runs finished" in capsys.readouterr().err
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "stopped" and not writers(folder / "logs/train.out")

    assert run_command(*words) == 0
    with open(folder / "history.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 31))
    assert "resum" in (folder / "logs/train.out").read_text().lower()
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "finished" and set(record["figures"]) == {"image only", "text only"}


def test_a_run_that_memory_has_no_room_for_waits_or_goes_on_later(
    foods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**TINY, "epochs": 8, "dataset_dir": str(foods)}
    runs = plan({"bundle": "food101", "methods": ["joint"], "seeds": 2, "settings": settings}).runs
    # Both are let in, since nothing was measured yet; then one has to go.
    workers = Local(tmp_path, jobs=2)
    room = {"memory_gb": 0.002, "run_memory_gb": 0.001}
    records = Schedule(runs, tmp_path, workers, jobs=2, **room).work()
    assert [record["state"] for record in records.values()] == ["finished"] * 2
    assert list(records) == [run.name for run in runs]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "food101, joint, seed 1: stopped, since memory is short; it goes on later"


@pytest.mark.slow
@pytest.mark.skipif(not FORKS, reason="finds processes in /proc")
def test_nothing_goes_on_after_the_command_was_killed(foods: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "command"
    words = ["--bundle", "food101", "--methods", "joint", "--output", str(output)]
    words += ["--epochs", "100000", "--settings", f"dataset_dir={foods}", "batch_size=16"]
    children = Children()
    codes: list[int] = []

    def command() -> None:
        codes.append(children.call("x", ["cggm.pipelines.research.experiments", *words], log))

    thread = threading.Thread(target=command)
    thread.start()
    folder = output / "food101/joint/seed-0"
    wait_for(folder / "models/last.pt")
    assert len(writers(folder / "logs/train.out")) == 1
    with pytest.raises(InputError, match=r"another command is at work in .*; wait for it, or"):
        main(words)
    (pid,) = [pid for pid in writers(Path(f"{log}.err")) if os.getpgid(pid) == pid]
    os.kill(pid, signal.SIGKILL)
    thread.join()
    assert codes == [-signal.SIGKILL]
    deadline = time.monotonic() + 10
    while writers(folder / "logs/train.out") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not writers(folder / "logs/train.out")
    assert json.loads((folder / "run.json").read_text())["state"] == "running"
    with FileLock(output / ".lock", timeout=0):
        pass


def test_a_damaged_record_is_named_before_anything_starts(tmp_path: Path) -> None:
    folder = tmp_path / "food101/joint/seed-0"
    folder.mkdir(parents=True)
    words = ["--bundle", "food101", "--methods", "joint", "--output", str(tmp_path)]
    damaged = '{"state": "finished", "figures": {"accuracy": "abc"}}'
    no_record = r"no record of a run"
    for text, message in (
        ("{", r"run\.json is damaged .*; remove"),
        ("[]", no_record),
        (damaged, no_record),
    ):
        (folder / "run.json").write_text(text)
        with pytest.raises(InputError, match=message):
            main(words)


def test_a_child_is_what_python_m_would_be(tmp_path: Path) -> None:
    children = Children()
    assert children.call("a", ["json.tool", "nowhere.json"], tmp_path / "a") != 0
    assert "nowhere.json" in (tmp_path / "a.err").read_text()
    (tmp_path / "b.json").write_text('{"a": 1}')
    assert (
        children.call("a", ["json.tool", "--compact", str(tmp_path / "b.json")], tmp_path / "b")
        == 0
    )
    assert (tmp_path / "b.out").read_text() == '{"a":1}\n'


def test_a_child_ends_when_told(tmp_path: Path) -> None:
    children = Children()
    ended: list[bool] = []

    def work() -> None:
        with pytest.raises(Stopped):
            children.call("b", [*WAIT, "__import__('time').sleep(600)"], tmp_path / "b")
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    held: dict[str, float] | None = {}
    while held is not None and held.get("b", 0) == 0:
        held = children.memory()
    if FORKS:
        assert held is not None and 0 < held["b"] < 1
        assert free_memory()
    children.stop("b")
    thread.join()
    assert ended
    with pytest.raises(Stopped):
        children.call("b", ["json.tool", "--help"], tmp_path / "b")
    children.welcome("b")
    assert children.call("b", ["json.tool", "--help"], tmp_path / "b") == 0


def test_an_interrupt_that_is_no_signal_ends_the_child(tmp_path: Path) -> None:
    """Ray cancels a task this way; the system call that waits does not notice."""

    def interrupt() -> None:
        wait_for(tmp_path / "c.out")
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Children().call("c", [*WAIT, "__import__('time').sleep(8)"], tmp_path / "c")
    assert not writers(tmp_path / "c.out")
    assert "loop" not in (tmp_path / "c.out").read_text()  # what it prints at its end
