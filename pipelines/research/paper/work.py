"""How are all runs done, one output folder at a time, with the finished ones left alone?"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ....data.errors import InputError
from ..experiments.local import Local
from ..experiments.memory import free_memory
from ..experiments.record import FAILED, FINISHED, earlier
from ..experiments.run import Run
from ..experiments.schedule import Schedule

SHARE = 0.9  # of the free memory, where no limit is given


def do_runs(runs: Sequence[Run], output: Path, *, jobs: int, memory_gb: float | None) -> None:
    """Train and test what is not finished; failures are kept in the records, and printed.

    Runs that fail do not stop the others.

    Args:
        runs: all of the plan.
        output: their folder.
        jobs: most at work at once.
        memory_gb: most gigabytes for all together; None takes 90 % of what is free.

    Raises:
        InputError: another command works in this folder, or it holds runs with other settings.
        KeyboardInterrupt: the user stopped it; all runs have ended.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", timeout=0):
            _work(unfinished(runs, output), len(runs), output, jobs, memory_gb)
    except Timeout as error:
        raise InputError(
            f"another command is at work in {output}; wait for it, or choose another --output"
        ) from error


def unfinished(runs: Sequence[Run], output: Path) -> list[Run]:
    """Those of the runs that are still to be done.

    Raises:
        InputError: a folder holds a run with other settings.
    """
    found = [(run, earlier(run, output)) for run in runs]
    return [run for run, record in found if record is None or record["state"] != FINISHED]


def _work(
    todo: Sequence[Run], total: int, output: Path, jobs: int, memory_gb: float | None
) -> None:
    print(f"{total} runs, {total - len(todo)} of them finished already, in {output}", flush=True)
    if not todo:
        return
    free = free_memory()
    limit = memory_gb or (free and free * SHARE)
    schedule = Schedule(todo, output, Local(output, jobs=jobs), jobs=jobs, memory_gb=limit)
    # Who ends us with `kill` wants the children ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    records = schedule.work()
    failed = [run for run in todo if records[run.name]["state"] == FAILED]
    for run in failed:
        print(f"failed: {run.folder(output) / 'failed.txt'} says why", file=sys.stderr)


def benchmark(bundles: Sequence[str], path: Path, steps: int) -> Path | None:
    """Measure memory and time for Table 8, unless that was done.

    Args:
        bundles: those to measure.
        path: the CSV file.
        steps: of each method.

    Returns:
        The file; None where the benchmark is not at hand, as in an installed package, or failed.
    """
    script = Path(__file__).parents[3] / "benchmarks" / "methods.py"
    if path.is_file():
        return path
    if not script.is_file():
        return None
    print("measuring memory and time for Table 8", flush=True)
    chosen = [word for name in bundles for word in ("--bundle", name)]
    methods = ["--method", "joint", "--method", "cggm"]
    words = [*chosen, *methods, "--steps", str(steps), "--output", str(path)]
    done = subprocess.run([sys.executable, str(script), *words], check=False)
    return path if done.returncode == 0 else None
