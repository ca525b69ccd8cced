"""Which runs does the user want? ``python -m cggm.pipelines.experiments --help``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...data.errors import InputError
from ..command_line.failures import report_plainly
from ..command_line.start import make_writable
from .bundles import from_word
from .grid import plan, read_grid
from .record import FAILED, FINISHED, earlier
from .run import Run
from .schedule import Schedule

GRID_HELP = """\
A grid is a JSON file:

  {"bundle": "food101",                     or a list; or {"name": "food101", "as": "foods",
                                            "settings": {"dataset_dir": "output/stand_ins/foods"}}
   "methods": ["joint", "cggm",             {"name": "cggm", "as": "CGGM, printed rule",
                                             "settings": {"rule": "paper"}}
   "seeds": [0, 1, 2],                      or how many
   "settings": {"epochs": 5},               of train.json and evaluate.json, for all runs
   "modalities": null,                      or a list of names
   "unimodal": true}                        also train on each modality alone

Each run is train.json, then evaluate.json on the test part, in OUTPUT/DATA/METHOD/seed-N. Runs
that are finished are not repeated, runs that were stopped go on. Ends with 1 if any run failed.
"""


def main(words: Sequence[str] | None = None) -> None:
    """Read the command and do it."""
    report_plainly()
    sys.exit(_run(_parser().parse_args(words)))


def _parser() -> argparse.ArgumentParser:
    run = argparse.ArgumentParser(
        prog="python -m cggm.pipelines.experiments",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train and test every method of a grid with every seed.",
        epilog=GRID_HELP,
    )
    run.add_argument("grid", nargs="?", help="the grid's file; options below replace its entries")
    run.add_argument("--bundle", help="such as food101, or several: food101,mosi")
    run.add_argument("--methods", help="such as joint,cggm")
    run.add_argument("--seeds", help="how many, or which: 0,1,2")
    run.add_argument("--epochs", type=int, help="short for --settings epochs=N")
    run.add_argument("--modalities", help="such as text,image")
    run.add_argument("--unimodal", action="store_true", help="also each modality alone")
    run.add_argument("--settings", nargs="+", default=[], metavar="NAME=VALUE")
    run.add_argument("--output", default="output/experiments", help="default: %(default)s")
    run.add_argument("--jobs", type=int, default=2, help="runs side by side; default: %(default)s")
    run.add_argument(
        "--memory_gb",
        type=float,
        help="most memory for all runs together; default: 90 %% of what is free",
    )
    return run


def _run(known: argparse.Namespace) -> int:
    if known.jobs < 1:
        raise InputError(f"--jobs is {known.jobs}; expected 1 or more")
    if known.memory_gb is not None and known.memory_gb <= 0:
        raise InputError(f"--memory_gb is {known.memory_gb:g}; expected a number above 0")
    runs = plan(_grid(known))
    output = make_writable(known.output)
    try:
        with FileLock(output / ".lock", timeout=0):
            return _work(runs, output, known)
    except Timeout as error:
        raise InputError(
            f"another command is at work in {output}; wait for it, or choose another --output"
        ) from error


def _work(runs: list[Run], output: Path, known: argparse.Namespace) -> int:
    found = [(run, earlier(run, output)) for run in runs]
    todo = [run for run, record in found if record is None or record["state"] != FINISHED]
    done = len(runs) - len(todo)
    print(f"{len(runs)} runs, {done} of them finished already, in {output}", flush=True)
    schedule = Schedule(todo, output, jobs=known.jobs, memory_gb=known.memory_gb)
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
    failed = [name for name, record in records.items() if record["state"] == FAILED]
    for run in (run for run in todo if run.name in failed):
        print(f"failed: {run.folder(output) / 'failed.txt'} says why", file=sys.stderr)
    if len(failed) < len(runs):
        print(f"tables: python -m cggm.pipelines.report {output}")
    return 1 if failed else 0


def _grid(known: argparse.Namespace) -> dict[str, Any]:
    grid = read_grid(known.grid) if known.grid else {}
    for name in ("bundle", "methods", "modalities"):
        if getattr(known, name):
            grid[name] = getattr(known, name).split(",")
    if known.seeds:
        listed = [from_word(word) for word in known.seeds.split(",")]
        grid["seeds"] = listed if "," in known.seeds else listed[0]
    if known.unimodal:
        grid["unimodal"] = True
    given = dict(_pair(word) for word in known.settings)
    if known.epochs is not None:
        given["epochs"] = known.epochs
    if given:
        grid["settings"] = {**grid.get("settings", {}), **given}
    return grid


def _pair(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    if not sign:
        raise InputError(f"--settings has {word!r}; expected NAME=VALUE such as epochs=5")
    return name, from_word(value)


if __name__ == "__main__":
    main()
