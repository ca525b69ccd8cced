"""Which run starts next, and when? Several side by side, within a limit of memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from .children import Stopped
from .execute import has_trained
from .record import FAILED
from .run import Run

POLL = 0.5  # seconds
FIRST_GUESS = 1.5  # gigabytes of a run before any was measured


class Workers(Protocol):
    """What does the runs: :class:`.local.Local` or :class:`.cluster.Cluster`."""

    def submit(self, run: Run) -> Future[dict[str, Any]]: ...
    def stop(self, run: Run) -> None: ...
    def memory(self) -> dict[str, float] | None: ...
    def close(self) -> None: ...


class Schedule:
    """Runs that wait, runs at work, and what became of the others.

    Args:
        runs: to be done, in this order.
        output: folder of all runs.
        workers: what does them; closed at the end.
        jobs: most at work at once.
        memory_gb: most gigabytes for all together; None for no limit.
        run_memory_gb: what a run is taken to need until a larger need is seen.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        output: Path,
        workers: Workers,
        *,
        jobs: int,
        memory_gb: float | None = None,
        run_memory_gb: float = FIRST_GUESS,
    ) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self._output = output
        self._workers = workers
        self._jobs = jobs
        self._limit = memory_gb
        self._needs = run_memory_gb
        self._total = len(runs)
        self._waiting = deque(runs)
        self._live: dict[str, tuple[Run, Future[dict[str, Any]]]] = {}
        self._bar = tqdm(
            total=len(runs),
            disable=None,  # drawn on a terminal only
            bar_format="{desc}{bar}| {n:.1f} of {total} runs [{elapsed}, left {remaining}]",
        )
        self._began = time.monotonic()

    def work(self) -> dict[str, dict[str, Any]]:
        """Do all runs; give their records by name. Ctrl-C ends them and is raised again."""
        try:
            while self._waiting or self._live:
                self._start_some()
                futures = [future for _, future in self._live.values()]
                wait(futures, timeout=POLL, return_when=FIRST_COMPLETED)
                self._watch_memory()
                self._collect()
                self._draw()
        finally:
            self._workers.close()
            self._bar.close()
        return self.records

    def _start_some(self) -> None:
        while self._waiting and len(self._live) < self._jobs and self._fits():
            run = self._waiting.popleft()
            self._live[run.name] = (run, self._workers.submit(run))

    def _fits(self) -> bool:
        """Whether one more run has room; a single one always starts."""
        if not self._live or self._limit is None:
            return True
        return (len(self._live) + 1) * self._needs <= self._limit

    def _watch_memory(self) -> None:
        held = None if self._limit is None else self._workers.memory()
        if self._limit is None or not held:
            return
        self._needs = max(self._needs, *held.values())
        if sum(held.values()) <= self._limit or len(held) < 2:
            return
        youngest = [run for name, (run, _) in self._live.items() if name in held][-1]
        self._say(f"{youngest.name}: stopped, since memory is short; it goes on later")
        self._workers.stop(youngest)

    def _collect(self) -> None:
        for name, (run, future) in list(self._live.items()):
            if not future.done():
                continue
            del self._live[name]
            try:
                record = future.result()
            except Stopped:
                self._waiting.appendleft(run)
                continue
            except Exception as error:  # no record could be written, or the machine was lost
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                record = {"state": FAILED, "failure": reason}
            self.records[name] = record
            self._report(name, record)

    def _report(self, name: str, record: dict[str, Any]) -> None:
        done = len(self.records)
        left = remaining(done, self._total, time.monotonic() - self._began)
        after = f" ({done} of {self._total}, about {left} left)" if done < self._total else ""
        if record["state"] == FAILED:
            self._say(f"{name}: failed: {record['failure']}{after}")
        else:
            self._say(f"{name}: {sum(record['seconds'].values()):.0f} s{after}")

    def _draw(self) -> None:
        # The last bit of a run is its test.
        at_work = sum(0.9 * has_trained(run, self._output) for run, _ in self._live.values())
        self._bar.n = len(self.records) + at_work
        self._bar.set_description_str(f"{len(self._live)} started ", refresh=False)
        self._bar.refresh()

    def _say(self, text: str) -> None:
        if self._bar.disable:
            print(text, flush=True)
        else:
            self._bar.write(text)


def remaining(done: int, total: int, seconds: float) -> str:
    """How long the rest takes if it goes on like this.

    >>> remaining(2, 6, 90), remaining(1, 2, 7200)
    ('3 min', '2.0 h')
    """
    left = seconds / done * (total - done)
    if left < 100:
        return f"{left:.0f} s"
    return f"{left / 60:.0f} min" if left < 6000 else f"{left / 3600:.1f} h"
