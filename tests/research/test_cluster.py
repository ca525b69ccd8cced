"""Runs on a cluster of Ray, here one of this machine: refusals, and a worker that is lost."""

import csv
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.data.features.generated import generate_feature_set
from cggm.pipelines.research.experiments.cluster import (
    GIGABYTE,
    Cluster,
    Machines,
    check_room,
)
from cggm.pipelines.research.experiments.command import app

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'cggm[research]'",
)

TINY = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1, "batch_size": 16}


def lose_worker(log: Path, folder: Path) -> None:
    """Kill the process of Ray that does a run once the run has finished an epoch."""
    deadline = time.monotonic() + 200
    while not (log.is_file() and len(log.read_text().splitlines()) > 2):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_text()
            if name.startswith("ray::work") and (process / "cwd").resolve() == folder:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the worker in /proc")
def test_runs_of_a_cluster_fail_alone_and_go_on_after_a_lost_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generate_feature_set("food101", tmp_path / "foods", samples=160)
    grid = {
        "bundle": "food101",
        "methods": [{"name": "cggm", "as": "broken", "settings": {"batch_size": 999}}, "joint"],
        "settings": {**TINY, "epochs": 20, "dataset_dir": "foods"},
    }
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    folder = tmp_path / "out/food101/joint/seed-0"
    killer = threading.Thread(target=lose_worker, args=(folder / "history.csv", tmp_path))
    killer.start()
    words = ["grid.json", "--output", "out", "--ray", "local", "--jobs", "1"]
    code = app(words, standalone_mode=False)
    killer.join()
    told = capsys.readouterr()
    assert code == 1, told
    assert "food101, broken, seed 0: failed: error: " in told.out
    assert "broken/seed-0/failed.txt says why" in told.err
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "finished" and "accuracy" in record["figures"]["joint"]
    with open(folder / "history.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 21))
    assert "resum" in (folder / "logs/train.out").read_text().lower()
    assert not record["seconds_known"]  # the first part could not be timed


@needs_ray
def test_an_address_where_nobody_is_is_refused_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"Ray does not answer at '127\.0\.0\.1:1' \(.*refused\)"),
        Cluster(Machines("127.0.0.1:1"), tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("machines", "at_once"),
    [
        (Machines(), 2),
        (Machines(jobs=5), 5),
        (Machines(jobs=5, memory_gb=4, run_memory_gb=1.5), 2),
        (Machines(jobs=5, memory_gb=1, run_memory_gb=1.5), 1),
        (Machines("auto"), None),
        (Machines("auto", jobs=3), 3),
    ],
)
def test_as_many_runs_are_at_work_as_memory_has_room_for(
    machines: Machines, at_once: int | None
) -> None:
    assert machines.at_once == at_once


def test_a_run_that_no_machine_has_room_for_is_refused() -> None:
    machines = [{"CPU": 8, "memory": 4 * GIGABYTE}, {"CPU": 2, "memory": 16 * GIGABYTE}]
    check_room({"CPU": 1, "GPU": 0, "memory": 10 * GIGABYTE}, machines)
    with pytest.raises(InputError, match=r"asks for 1 CPU, 20 GB and 0 GPU, .*\(8 CPU"):
        check_room({"CPU": 1, "GPU": 0, "memory": 20 * GIGABYTE}, machines)
    with pytest.raises(InputError, match=r"1 GPU, and no machine"):
        check_room({"CPU": 1, "GPU": 1, "memory": GIGABYTE}, machines)
