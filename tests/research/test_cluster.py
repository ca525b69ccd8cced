"""Clusters of Ray that are refused, and how many runs one does at once."""

import importlib.util
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.research.experiments.cluster import GIGABYTE, Cluster, check_room
from cggm.pipelines.research.experiments.machines import Machines

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'cggm[research]'",
)


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
