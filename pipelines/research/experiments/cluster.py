"""How do runs get done on the machines of a Ray cluster?"""

from __future__ import annotations

import logging
import os
import socket
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from .children import PATIENCE, Children
from .execute import execute
from .memory import GIGABYTE
from .run import Run

LOCAL = "local"
RETRIES = 3  # after a worker or its machine was lost; the run goes on from its last epoch


class Cluster:
    """Runs as tasks of Ray, which finds each a machine with room.

    All machines have this package and see the same folders.

    Args:
        address: of the cluster, as ``ray.init`` takes it; "local" starts one on this machine.
        output: folder of all runs.
        cpus: of a cluster that is started here.
        memory_gb: that each run asks for.
        gpus: that each run asks for; a part of one is possible.

    Raises:
        InputError: Ray is not installed or does not answer, or no machine is large enough.
    """

    def __init__(
        self, address: str, output: Path, *, cpus: int, memory_gb: float, gpus: float = 0
    ) -> None:
        self._ray = _connect(address, cpus)
        self._output = output
        self._refs: dict[str, Any] = {}
        needs = {"CPU": 1.0, "GPU": gpus, "memory": memory_gb * GIGABYTE}
        try:
            check_room(needs, [node["Resources"] for node in self._ray.nodes() if node["Alive"]])
        except InputError:
            self._ray.shutdown()
            raise
        self._task = self._ray.remote(
            num_cpus=1, num_gpus=gpus, memory=int(needs["memory"]), max_retries=RETRIES
        )(work)

    def submit(self, run: Run) -> Future[dict[str, Any]]:
        """Start a run; the future gives its record, or what Ray raises where it was lost."""
        ref = self._task.remote(run, str(self._output), os.getcwd())
        self._refs[run.name] = ref
        return ref.future()

    def stop(self, run: Run) -> None:
        """End a run; it can be submitted again."""
        self._ray.cancel(self._refs[run.name])

    def memory(self) -> dict[str, float] | None:
        """Ray watches over memory by itself."""
        return None

    def close(self) -> None:
        """End what is at work, for good, and leave the cluster."""
        refs = list(self._refs.values())
        for ref in refs:
            self._ray.cancel(ref)
        if refs:
            self._ray.wait(refs, num_returns=len(refs), timeout=PATIENCE)
        self._ray.shutdown()


def work(run: Run, output: str, folder: str) -> dict[str, Any]:
    """A task: train and test, on whatever machine this is.

    Args:
        run: what to do.
        output: folder of all runs.
        folder: where the command was given; relative names in settings are read from there.

    Raises:
        InputError: this machine does not see these folders.
    """
    for path in (output, folder):
        if not Path(path).is_dir():
            raise InputError(
                f"{socket.gethostname()} does not see {path}; all machines of the cluster need "
                "the same file system"
            )
    os.chdir(folder)
    return execute(run, Path(output), Children(threads=1))


def _connect(address: str, cpus: int) -> Any:
    # What a hospital computes is not reported to anybody, unless it says so itself.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--ray needs Ray, which is not installed: pip install 'cggm[ray]'"
        ) from error
    own = {"num_cpus": cpus, "include_dashboard": False} if address == LOCAL else {}
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"Ray does not answer at {address!r} ({reason}); --ray is the address of a cluster "
            "such as 'auto', '10.0.0.1:6379' or 'ray://…', or 'local'"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def check_room(needs: dict[str, float], machines: list[dict[str, float]]) -> None:
    """Refuse what Ray would wait for in silence."""
    if not any(all(has.get(n, 0) >= needs[n] for n in needs) for has in machines):
        text = f"1 CPU, {needs['memory'] / GIGABYTE:g} GB and {needs['GPU']:g} GPU"
        found = "; ".join(
            f"{has.get('CPU', 0):g} CPU, {has.get('memory', 0) / GIGABYTE:.1f} GB, "
            f"{has.get('GPU', 0):g} GPU"
            for has in machines
        )
        raise InputError(
            f"a run asks for {text}, and no machine of the cluster has that ({found}); ask for "
            "less with --run_memory_gb and --run_gpus"
        )
