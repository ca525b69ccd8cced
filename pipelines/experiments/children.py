"""How are commands run side by side, watched, and stopped with all that they started?"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GIGABYTE = 1024**3
PATIENCE = 15.0  # seconds from the polite signal to the other one


class Stopped(Exception):
    """A command ended because it was asked to."""


class Children:
    """Commands of several runs, one at a time each. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._live: dict[str, subprocess.Popen[bytes]] = {}
        self._unwanted: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()

    def call(self, run: str, command: Sequence[str], log: Path) -> int:
        """Run a command to its end.

        Args:
            run: for whom.
            command: the words.
            log: standard output goes to `log`.out, standard error to `log`.err.

        Returns:
            Its exit code.

        Raises:
            Stopped: :meth:`stop` or :meth:`close` was called.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            with self._lock:
                if self._closed or run in self._unwanted:
                    raise Stopped
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    # Two that share the cores would wait for each other at every step.
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    # Ctrl-C reaches us alone, and workers and teachers die with their parent.
                    start_new_session=True,
                )
                self._live[run] = process
            code = process.wait()
        with self._lock:
            del self._live[run]
            if self._closed or run in self._unwanted:
                raise Stopped
        return code

    def stop(self, run: str) -> None:
        """End one run's command; its next one does not start either."""
        with self._lock:
            self._unwanted.add(run)
            process = self._live.get(run)
        if process is not None:
            _end([process])

    def welcome(self, run: str) -> None:
        """Let a run start again that was stopped."""
        with self._lock:
            self._unwanted.discard(run)

    def close(self) -> None:
        """End everything, for good."""
        with self._lock:
            self._closed = True
            processes = list(self._live.values())
        _end(processes)

    def memory(self) -> dict[str, float] | None:
        """Gigabytes that each run holds now; None where that cannot be found out."""
        with self._lock:
            groups = {process.pid: run for run, process in self._live.items()}
        held = _resident()
        if held is None:
            return None
        found = dict.fromkeys(groups.values(), 0.0)
        for group, size in held:
            if group in groups:
                found[groups[group]] += size / GIGABYTE
        return found


def free_memory() -> float | None:
    """Gigabytes that this machine can give now; None where that cannot be found out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        psutil = _psutil()
        return None if psutil is None else psutil.virtual_memory().available / GIGABYTE
    return next(int(line.split()[1]) * 1024 / GIGABYTE for line in lines if "MemAvailable" in line)


def _resident() -> list[tuple[int, int]] | None:
    """Process group and bytes in memory of every process."""
    if not sys.platform.startswith("linux"):
        return _resident_by_psutil()
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # The name in brackets may hold anything; the fields follow its last bracket.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found.append((int(fields[2]), int(fields[21]) * page))
    return found


def _resident_by_psutil() -> list[tuple[int, int]] | None:
    psutil = _psutil()
    if psutil is None or not hasattr(os, "getpgid"):
        return None
    found = []
    for process in psutil.process_iter(["pid", "memory_info"]):
        with contextlib.suppress(OSError, psutil.Error):
            size = process.info["memory_info"]
            found.append((os.getpgid(process.info["pid"]), 0 if size is None else size.rss))
    return found


def _psutil() -> Any:
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _signal(process, signal.SIGINT)
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):  # it has ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()
