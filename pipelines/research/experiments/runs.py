"""All runs of one output folder: the finished ones left alone, the others done by Ray."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ....data.locks import lock_or_refuse
from .cluster import Cluster
from .execute import FAILURE, has_trained
from .look_ahead import look_ahead
from .machines import Machines
from .record import FAILED, FINISHED, earlier
from .run import Run

TICK = 0.5  # seconds between two looks at the runs at work
TRAINING = 0.9  # share of a run; the rest is its test


def do_runs(runs: Sequence[Run], output: Path, machines: Machines) -> list[Run]:
    """Train and test what is not finished, tell how it goes and in the end which runs failed.

    Runs that fail do not stop the others.

    Args:
        runs: all of the plan.
        output: their folder.
        machines: where they are done.

    Returns:
        Those that failed.

    Raises:
        InputError: another command works in this folder, or a run would fail at once.
        KeyboardInterrupt: the user stopped it; no run is at work any more. Its text says how far
            they came.
    """
    refusal = f"another command is at work in {output}; wait for it, or choose another --output"
    with lock_or_refuse(output / ".lock", refusal):
        todo = unfinished(runs, output)
        look_ahead(todo)
        done = len(runs) - len(todo)
        print(f"{len(runs)} runs, {done} of them finished already, in {output}", flush=True)
        return _report(_do(todo, done, output, machines), output) if todo else []


def unfinished(runs: Sequence[Run], output: Path) -> list[Run]:
    """Those of the runs that are still to be done.

    Raises:
        InputError: a folder holds a run with other settings.
    """
    records = [(run, earlier(run, output)) for run in runs]
    return [run for run, record in records if record is None or record["state"] != FINISHED]


def _do(
    todo: Sequence[Run], done: int, output: Path, machines: Machines
) -> list[tuple[Run, dict[str, Any]]]:
    """Do runs side by side; give them with their records."""
    waiting = deque(todo)
    ended: list[tuple[Run, dict[str, Any]]] = []
    progress = _Progress(len(todo), output)
    try:
        with Cluster(machines, output) as cluster:
            # Whoever ends us with `kill` wants the runs ended too.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            while waiting or cluster.runs:
                while waiting and cluster.has_room():
                    cluster.start(waiting.popleft())
                for run, record in cluster.wait(TICK):
                    ended.append((run, record))
                    progress.tell(run, record, len(ended))
                progress.draw(cluster.runs, len(ended))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped by the user with {done + len(ended)} of {done + len(todo)} runs finished; "
            "the same command goes on from the last finished epoch of the others"
        ) from error
    finally:
        progress.close()
    return ended


def _report(ended: Sequence[tuple[Run, dict[str, Any]]], output: Path) -> list[Run]:
    failed = [(run, record) for run, record in ended if record["state"] == FAILED]
    for run, record in failed:
        path = run.folder(output) / FAILURE
        why = f"{path} says why" if path.is_file() else record["failure"]
        print(f"failed: {run.name}: {why}", file=sys.stderr)
    return [run for run, _ in failed]


class _Progress:
    """What the user sees: a bar on a terminal, and a line for every run that ends."""

    def __init__(self, total: int, output: Path) -> None:
        self._total = total
        self._output = output
        self._began = time.monotonic()
        self._bar = tqdm(
            total=total,
            disable=None,  # drawn on a terminal only
            bar_format="{desc}{bar}| {n:.1f} of {total} runs [{elapsed}, left {remaining}]",
        )

    def tell(self, run: Run, record: dict[str, Any], done: int) -> None:
        """Say that a run has ended, and how long the others may take."""
        left = remaining(done, self._total, time.monotonic() - self._began)
        after = f" ({done} of {self._total}, about {left} left)" if done < self._total else ""
        if record["state"] == FAILED:
            self._say(f"{run.name}: failed: {record['failure']}{after}")
        else:
            self._say(f"{run.name}: {sum(record['seconds'].values()):.0f} s{after}")

    def draw(self, live: Sequence[Run], done: int) -> None:
        """Move the bar, by epochs of the runs at work too."""
        if self._bar.disable:
            return
        self._bar.n = done + sum(TRAINING * has_trained(run, self._output) for run in live)
        self._bar.set_description_str(f"{len(live)} started ", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()

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
