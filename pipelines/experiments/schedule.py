"""Which run starts next, and when? Several side by side, within a limit of memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .children import Children, Stopped, free_memory
from .execute import execute, has_trained
from .record import FAILED
from .run import Run

POLL = 0.5  # seconds
FIRST_GUESS = 1.5  # gigabytes of a run before any was measured
SHARE = 0.9  # of the free memory, where no limit is given


class Schedule:
    """Runs that wait, runs at work, and what became of the others.

    Args:
        runs: to be done, in this order.
        output: folder of all runs.
        jobs: most at work at once.
        memory_gb: most gigabytes for all together; None takes most of what is free.
        show: draw a progress bar; None draws it on a terminal only.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        output: Path,
        *,
        jobs: int = 2,
        memory_gb: float | None = None,
        show: bool | None = None,
    ) -> None:
        self.output = output
        self.jobs = jobs
        free = free_memory()
        self.limit = memory_gb if memory_gb is not None else free and free * SHARE
        self.records: dict[str, dict[str, Any]] = {}
        self._total = len(runs)
        self._waiting = deque(runs)
        self._live: dict[str, tuple[Run, Future[dict[str, Any]]]] = {}
        self._needs = FIRST_GUESS
        self._children = Children()
        self._bar = tqdm(
            total=len(runs),
            disable=None if show is None else not show,
            bar_format="{desc}{bar}| {n:.1f} of {total} runs [{elapsed}, left {remaining}]",
        )
        self._began = time.monotonic()

    def work(self) -> dict[str, dict[str, Any]]:
        """Do all runs; give their records by name. Ctrl-C ends them and is raised again."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            while self._waiting or self._live:
                self._start_some(pool)
                futures = [future for _, future in self._live.values()]
                wait(futures, timeout=POLL, return_when=FIRST_COMPLETED)
                self._watch_memory()
                self._collect()
                self._draw()
        finally:
            self._children.close()
            pool.shutdown(wait=True, cancel_futures=True)
            self._bar.close()
        return self.records

    def _start_some(self, pool: ThreadPoolExecutor) -> None:
        while self._waiting and len(self._live) < self.jobs and self._fits():
            run = self._waiting.popleft()
            self._children.welcome(run.name)
            future = pool.submit(execute, run, self.output, self._children)
            self._live[run.name] = (run, future)

    def _fits(self) -> bool:
        """Whether one more run has room; a single one always starts."""
        if not self._live or self.limit is None:
            return True
        return (len(self._live) + 1) * self._needs <= self.limit

    def _watch_memory(self) -> None:
        held = self._children.memory() if self.limit is not None else None
        if not held:
            return
        self._needs = max(self._needs, *held.values())
        if self.limit is None or sum(held.values()) <= self.limit or len(held) < 2:
            return
        youngest = [name for name in self._live if name in held][-1]
        self._say(f"{youngest}: stopped, since memory is short; it goes on later")
        self._children.stop(youngest)

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
            self.records[name] = record
            self._report(name, record)

    def _report(self, name: str, record: dict[str, Any]) -> None:
        done = len(self.records)
        left = remaining(done, self._total, time.monotonic() - self._began)
        after = f"({done} of {self._total}, about {left} left)" if done < self._total else ""
        took = sum(record["seconds"].values())
        if record["state"] == FAILED:
            self._say(f"{name}: failed: {record['failure']} {after}".rstrip())
        else:
            self._say(f"{name}: {took:.0f} s {after}".rstrip())

    def _draw(self) -> None:
        # The last bit of a run is its test.
        at_work = sum(0.9 * has_trained(run, self.output) for run, _ in self._live.values())
        self._bar.n = len(self.records) + at_work
        self._bar.set_description_str(f"{len(self._live)} at work ", refresh=False)
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
