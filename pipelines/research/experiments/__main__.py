"""Which runs does the user want? ``cggm experiments --help``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ....data.errors import InputError
from ...commands.failures import report_plainly
from ...commands.start import make_writable
from .cluster import Cluster
from .execute import FAILURE
from .grid import plan
from .local import Local
from .look_ahead import look_ahead
from .memory import free_memory
from .options import grid_of, read_options
from .record import FAILED, FINISHED, earlier
from .run import Run
from .schedule import Schedule

JOBS = 2
SHARE = 0.9  # of the free memory, where no limit is given


def main(words: Sequence[str] | None = None) -> None:
    """Read the command and do it."""
    report_plainly()
    options = read_options(None if words is None else list(words))
    runs, left_out = plan(grid_of(options))
    for line in left_out:
        print(line)
    output = make_writable(options.output).resolve()
    try:
        with FileLock(output / ".lock", timeout=0):
            sys.exit(_work(runs, output, options))
    except Timeout as error:
        raise InputError(
            f"another command is at work in {output}; wait for it, or choose another --output"
        ) from error


def _work(runs: list[Run], output: Path, options: argparse.Namespace) -> int:
    todo = [run for run in runs if not _is_finished(run, output)]
    look_ahead(todo)
    done = len(runs) - len(todo)
    print(f"{len(runs)} runs, {done} of them finished already, in {output}", flush=True)
    if not todo:
        return _report([], {}, output)
    schedule = _schedule(todo, output, options)
    # Who ends us with `kill` wants the children ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        records = schedule.work()
    except KeyboardInterrupt:
        ended = done + len(schedule.records)
        print(
            f"stopped by the user with {ended} of {len(runs)} runs finished; the same command "
            "goes on from the last finished epoch of the others",
            file=sys.stderr,
        )
        return 130
    return _report(todo, records, output)


def _is_finished(run: Run, output: Path) -> bool:
    record = earlier(run, output)
    return record is not None and record["state"] == FINISHED


def _schedule(todo: list[Run], output: Path, options: argparse.Namespace) -> Schedule:
    jobs = options.jobs or JOBS
    if options.ray is not None:
        workers = Cluster(
            options.ray, output, cpus=jobs, memory_gb=options.run_memory_gb, gpus=options.run_gpus
        )
        return Schedule(todo, output, workers, jobs=options.jobs or len(todo))
    return Schedule(
        todo,
        output,
        Local(output, jobs=jobs),
        jobs=jobs,
        memory_gb=_memory(options.memory_gb),
        run_memory_gb=options.run_memory_gb,
    )


def _memory(asked: float | None) -> float | None:
    """Gigabytes for all runs together; None where memory cannot be measured."""
    free = free_memory()
    if free is None:
        if asked is not None:
            print("memory cannot be measured on this system: --jobs alone decides", file=sys.stderr)
        return None
    return free * SHARE if asked is None else asked


def _report(runs: list[Run], records: dict[str, dict[str, Any]], output: Path) -> int:
    failed = [run for run in runs if records[run.name]["state"] == FAILED]
    for run in failed:
        path = run.folder(output) / FAILURE
        why = f"{path} says why" if path.is_file() else records[run.name]["failure"]
        print(f"failed: {run.name}: {why}", file=sys.stderr)
    if len(failed) < len(runs) or not runs:
        print(f"tables: cggm tables {output}")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
