"""Grids that run, go on, report failures, and end in tables."""

import contextlib
import csv
import importlib.util
import ipaddress
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from cggm.data.errors import InputError
from cggm.data.features.generated import generate_feature_set
from cggm.pipelines.research.experiments.command import app
from cggm.pipelines.research.report.write import write_tables

from ..children import descendants, left_after

# Ray itself is imported by the command, which tells it first to listen on no other address.
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'cggm[research]'",
)
needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds processes in /proc"
)
COMMAND = "from cggm.pipelines.research.experiments.command import app; app()"
TINY = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1, "epochs": 1, "batch_size": 16}
SMALL = [f"{name}={value}" for name, value in TINY.items() if name != "epochs"]


@pytest.fixture(scope="module")
def foods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_feature_set("food101", tmp_path_factory.mktemp("data") / "foods", samples=160)


@pytest.fixture(scope="module")
def ending() -> Iterator[list[int]]:
    """Processes that have to be gone when the tests of this file are done.

    Two of Ray's services try for a minute to report the end of the others before they end.
    """
    processes: list[int] = []
    yield processes
    assert not left_after(120, processes)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 400
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.is_file()


def interrupt_after(path: Path) -> None:
    """Press Ctrl-C once a file is there."""
    wait_for(path)
    os.kill(os.getpid(), signal.SIGINT)


def lose_worker_after(rows: int, folder: Path) -> None:
    """Kill the process of Ray that does a run once its history has more than so many rows."""
    deadline = time.monotonic() + 400
    while len((folder / "history.csv").read_text().splitlines()) <= rows:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for pid in writers(folder / "logs/train.out"):
        os.kill(pid, signal.SIGKILL)


def writers(log: Path) -> list[int]:
    """Processes whose standard output or error goes to a file."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/[12]"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.readlink(link) == str(log):
                found.add(int(link.parts[2]))
    return sorted(found)


def listens_on(pid: int) -> set[str]:
    """Addresses on which a process accepts connections."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(link).removeprefix("socket:[").rstrip("]"))
    addresses = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                addresses.add(as_address(fields[1].partition(":")[0]))
    return addresses


def as_address(digits: str) -> str:
    """An address as /proc/net writes it: words of four bytes, the last byte first."""
    words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def run_command(*words: str) -> int:
    return app(list(words), standalone_mode=False) or 0


@needs_ray
@needs_proc
@pytest.mark.slow
def test_nothing_goes_on_after_the_command_was_killed(
    foods: Path, tmp_path: Path, request: pytest.FixtureRequest, ending: list[int]
) -> None:
    output, log = tmp_path / "out", tmp_path / "command.err"
    # Its teachers are trained by a process of their own, which has to end too.
    words = ["--bundle", "food101", "--methods", "umt", "--output", str(output)]
    words += ["--epochs", "100000", "--settings", f"dataset_dir={foods}", *SMALL]
    with open(log, "w") as file:
        command = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=file)
    request.addfinalizer(command.kill)
    folder = output / "food101/umt/seed-0"
    wait_for(folder / "teachers/models/last.pt")
    assert len(writers(folder / "logs/train.out")) == 2
    listening = {address for pid in descendants(command.pid) for address in listens_on(pid)}
    # Some versions of Python write an IPv4 address in IPv6 in another form.
    loopback = {ipaddress.ip_address(a) for a in ("127.0.0.1", "::1", "::ffff:127.0.0.1")}
    assert listening and {ipaddress.ip_address(address) for address in listening} <= loopback
    with pytest.raises(InputError, match=r"another command is at work in .*; wait for it, or"):
        run_command(*words)
    at_work, started = writers(folder / "logs/train.out"), descendants(command.pid)
    assert set(at_work) <= set(started)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    assert not left_after(60, at_work)
    ending += started
    assert not writers(folder / "logs/train.out")
    assert json.loads((folder / "run.json").read_text())["state"] == "running"
    with FileLock(output / ".lock", timeout=0):
        pass


@needs_ray
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
        run_command(*words, "--epochs", "2")

    write_tables(output, output / "tables")
    text = (output / "tables/foods.md").read_text()
    assert "generated features (no real samples): food101, 40 tested" in text
    assert "printed rule: cggm with rule paper" in text
    assert "broken, seed 3: failed" in text


@needs_ray
@needs_proc
@pytest.mark.slow
def test_ctrl_c_ends_all_and_the_same_command_goes_on_also_after_a_lost_worker(
    foods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--bundle", "food101", "--methods", "unimodal", "--output", str(tmp_path)]
    words += ["--epochs", "30", "--settings", f"dataset_dir={foods}", *SMALL]
    folder = tmp_path / "food101/unimodal/seed-0"
    told = threading.Thread(target=interrupt_after, args=(folder / "models/last.pt",))
    told.start()
    assert run_command(*words) == 130
    told.join()
    assert "stopped by the user with 0 of 1 runs finished" in capsys.readouterr().err
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "stopped" and record["seconds_known"]
    assert not writers(folder / "logs/train.out")

    rows = len((folder / "history.csv").read_text().splitlines())
    killer = threading.Thread(target=lose_worker_after, args=(rows, folder))
    killer.start()
    assert run_command(*words) == 0
    killer.join()
    with open(folder / "history.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 31))
    assert "resum" in (folder / "logs/train.out").read_text().lower()
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "finished" and set(record["figures"]) == {"image only", "text only"}
    assert not record["seconds_known"]  # the part that was lost could not be timed


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
            run_command(*words)
