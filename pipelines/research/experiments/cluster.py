"""Runs as tasks of Ray, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from ....data.errors import InputError
from ...commands.failures import reason_of
from .execute import execute, keep_failure
from .machines import DEFAULT_JOBS, LOCAL, Machines
from .record import FAILED
from .run import Run

GIGABYTE = 1024**3
RETRIES = 3  # after a worker or its machine was lost; the run goes on from its last epoch
PATIENCE = 15.0  # seconds that runs have to end when they are stopped
STORE = 80 * 1024**2  # bytes for shared objects, the least that Ray takes: records are small


class Cluster:
    """Ray, joined or started while the ``with`` block lasts.

    All machines have this package and see the same folders.

    Args:
        machines: where, and what a run gets.
        output: folder of all runs.

    Raises:
        InputError: Ray is not installed or does not answer, or no machine is large enough.
    """

    def __init__(self, machines: Machines, output: Path) -> None:
        self._machines = machines
        self._output = output
        self._live: dict[Any, Run] = {}

    def __enter__(self) -> Cluster:
        machines = self._machines
        connect(machines.address, machines.at_once or DEFAULT_JOBS)
        import ray

        needs = {
            "CPU": 1.0,
            "GPU": machines.run_gpus,
            "memory": machines.run_memory_gb * GIGABYTE,
        }
        try:
            check_room(needs, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        except InputError:
            ray.shutdown()
            raise
        # A worker does one run: bundles seed generators and install hooks.
        self._task = ray.remote(
            num_cpus=1,
            num_gpus=machines.run_gpus,
            memory=int(needs["memory"]),
            max_retries=RETRIES,
            max_calls=1,
        )(work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import ray

        live = list(self._live)
        for task in live:
            ray.cancel(task)
        if live:
            ray.wait(live, num_returns=len(live), timeout=PATIENCE)
        ray.shutdown()

    @property
    def runs(self) -> list[Run]:
        """Those that were started and have not ended."""
        return list(self._live.values())

    def has_room(self) -> bool:
        """Whether one more run may start; Ray lets it wait until a machine is free."""
        limit = self._machines.at_once
        return limit is None or len(self._live) < limit

    def start(self, run: Run) -> None:
        """Start a run."""
        task = self._task.remote(run, str(self._output), os.getcwd(), _threads(self._machines))
        self._live[task] = run

    def wait(self, seconds: float) -> list[tuple[Run, dict[str, Any]]]:
        """Runs that have ended, with their records; none where none ends in time."""
        import ray
        from ray.exceptions import RayError

        done, _ = ray.wait(list(self._live), timeout=seconds)
        ended = []
        for task in done:
            run = self._live.pop(task)
            try:
                record = ray.get(task)
            except RayError as error:
                record = keep_failure(run, self._output, _loss(error))
            ended.append((run, record))
        return ended


def _threads(machines: Machines) -> int:
    """Of torch in each run: runs that share the cores would wait for each other."""
    return torch.get_num_threads() if machines.are_here and machines.at_once == 1 else 1


def work(run: Run, output: str, folder: str, threads: int) -> dict[str, Any]:
    """Train and test, on whatever machine this is; give the record. The task of Ray.

    Args:
        run: what to do.
        output: folder of all runs.
        folder: where the command was given; relative names in settings are read from there.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    try:
        for path in (output, folder):
            if not Path(path).is_dir():
                raise InputError(
                    f"{socket.gethostname()} does not see {path}; all machines of the cluster "
                    "need the same file system"
                )
        os.chdir(folder)
        return execute(run, Path(output))
    except Exception as error:  # no record could be written
        reason = reason_of(error) or f"{type(error).__name__}: {error}"
        return {"state": FAILED, "failure": reason}


def connect(address: str, cpus: int) -> None:
    """Join a cluster of Ray, or start one on this machine that nobody else can reach.

    Args:
        address: as ``ray.init`` takes it, or "local".
        cpus: of a cluster that is started here.

    Raises:
        InputError: Ray is not installed or does not answer.
    """
    # What a hospital computes is not reported to anybody, unless it says so itself.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # Without clusters Ray listens on the loopback address only. Read at its import.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Workers of Ray are nice to others by default; here they are what the user waits for.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Runs that ask for no GPU of their own see all of this machine's.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "experiments need Ray, which is not installed: pip install 'cggm[research]'"
        ) from error
    try:
        if address == LOCAL:
            ray.init(
                address,
                num_cpus=cpus,
                object_store_memory=STORE,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            _knock(address)
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # a plain one where Ray's own services do not start in time
        raise InputError(
            f"Ray does not answer at {address!r} ({_first_line(error)}); --ray is the address of "
            "a cluster such as 'auto', '10.0.0.1:6379' or 'ray://…', or 'local'"
        ) from error


def check_room(needs: Mapping[str, float], machines: Sequence[Mapping[str, float]]) -> None:
    """Refuse what Ray would wait for in silence.

    Args:
        needs: of a run: "CPU", "GPU" and "memory" in bytes.
        machines: the same of each machine.

    Raises:
        InputError: no machine has that.
    """
    if not any(all(has.get(n, 0) >= needs[n] for n in needs) for has in machines):
        text = f"1 CPU, {needs['memory'] / GIGABYTE:g} GB and {needs['GPU']:g} GPU"
        offers = "; ".join(
            f"{has.get('CPU', 0):g} CPU, {has.get('memory', 0) / GIGABYTE:.1f} GB, "
            f"{has.get('GPU', 0):g} GPU"
            for has in machines
        )
        raise InputError(
            f"a run asks for {text}, and no machine of the cluster has that ({offers}); ask for "
            "less with --run_memory_gb and --run_gpus"
        )


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _loss(error: Exception) -> str:
    """Why Ray has no record of a run, in a sentence."""
    from ray.exceptions import OutOfMemoryError, WorkerCrashedError

    if isinstance(error, OutOfMemoryError):
        return "memory ran out; use fewer --jobs, or a smaller batch"
    if isinstance(error, WorkerCrashedError):
        return (
            f"its process was killed, and killed again in {RETRIES} further tries; as a rule "
            "memory had run out"
        )
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
