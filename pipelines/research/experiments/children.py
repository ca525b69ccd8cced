"""How are commands run side by side, watched, and stopped with all that they started?"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from .child import Order, become
from .memory import memory_of

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none
PATIENCE = 15.0  # seconds from the polite signal to the other one
WAKE = 0.5  # seconds; Ray's cancellation reaches us between two waits, not within one
# A server imports these once; each command is then forked from it, and starts at once.
PRELOADED = (
    "monai.bundle",
    "monai.engines",
    "monai.handlers",
    "monai.losses",
    "cggm.bundles",
    "cggm.data",
    "cggm.models",
    "cggm.pipelines",
    "cggm.pipelines.research.experiments.child",
)
FORKS = sys.platform.startswith("linux")  # elsewhere a fork after these imports is not safe
_CONTEXT: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")
_BOOKS = threading.Lock()  # multiprocessing's own books of its processes are not thread-safe


class Stopped(Exception):
    """A command ended because it was asked to."""


class Children:
    """Commands of several runs, one at a time each. All methods may be called from any thread.

    Args:
        threads: of each command; None leaves them alone.
    """

    def __init__(self, *, threads: int | None = 1) -> None:
        self._threads = threads
        self._live: dict[str, BaseProcess] = {}
        self._unwanted: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()
        _start_server()

    def call(self, run: str, words: Sequence[str], log: Path) -> int:
        """Run ``python -m`` with these words, to its end.

        Args:
            run: for whom.
            words: a module and its arguments.
            log: standard output goes to `log`.out, standard error to `log`.err.

        Returns:
            Its exit code; of one that a signal ended, minus that signal.

        Raises:
            Stopped: :meth:`stop` or :meth:`close` was called.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        order = Order(tuple(words), log.absolute(), dict(os.environ), self._threads)
        process = _CONTEXT.Process(target=become, args=(order,))
        self._refuse(run)
        with _BOOKS:
            process.start()
        with self._lock:
            self._live[run] = process
        try:
            self._refuse(run)  # what was asked for between the two could not reach it
            while not connection.wait([process.sentinel], WAKE):
                pass
        except BaseException:
            _end([process])
            raise
        finally:
            with _BOOKS:
                process.join()
            _signal(process, KILL)  # whoever is left of its group
            with self._lock:
                del self._live[run]
        self._refuse(run)
        return process.exitcode

    def stop(self, run: str) -> None:
        """End one run's command; its next one does not start either."""
        with self._lock:
            self._unwanted.add(run)
            processes = [self._live[run]] if run in self._live else []
        _end(processes)

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
        """Gigabytes that each run holds now; None where that is unknown."""
        with self._lock:
            groups = {run: process.pid for run, process in self._live.items() if process.pid}
        held = memory_of(groups.values())
        return None if held is None else {run: held[group] for run, group in groups.items()}

    def _refuse(self, run: str) -> None:
        with self._lock:
            if self._closed or run in self._unwanted:
                raise Stopped


def _start_server() -> None:
    if not FORKS or threading.current_thread() is not threading.main_thread():
        return
    from multiprocessing import forkserver  # Windows has none

    forkserver.set_forkserver_preload(list(PRELOADED))
    # Ctrl-C is for us; while it imports, the server would end with a traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _end(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        # Only the thread that called it may join it.
        connection.wait([process.sentinel], max(0.0, deadline - time.monotonic()))
        _signal(process, KILL)


def _signal(process: BaseProcess, number: int) -> None:
    if process.pid is None or not hasattr(os, "killpg"):
        process.terminate()
        return
    try:
        os.killpg(process.pid, number)
    except OSError:  # it has ended, or was forked just now and has no group yet
        if not connection.wait([process.sentinel], 0):
            with contextlib.suppress(OSError):
                os.kill(process.pid, KILL)
