"""The command ``cggm paper``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....data.errors import InputError
from ...commands.start import make_writable
from ..experiments.machines import DEFAULT_JOBS, Machines

if TYPE_CHECKING:
    from ..experiments.run import Run
    from ..report.pieces import Piece

TITLE = "Tables and figures of the CGGM paper"


def main(
    budget_name: Annotated[
        str, typer.Option("--budget", help="How much is trained: tiny, small or paper.")
    ] = "small",
    food101: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Data set for food101.")
    ] = None,
    brats: Annotated[str | None, typer.Option(metavar="FOLDER", help="Data set for brats.")] = None,
    mosi: Annotated[str | None, typer.Option(metavar="FOLDER", help="Data set for mosi.")] = None,
    iemocap: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Data set for iemocap.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Such as table6,figure5; default: everything.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where runs and report go.")] = Path("output/paper"),
    jobs: Annotated[int, typer.Option(help="Runs side by side.")] = DEFAULT_JOBS,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            "--memory_gb", help="Most memory for all runs together; default: what is free."
        ),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Of benchmarks/methods.py; default: OUTPUT/benchmark.csv."
        ),
    ] = None,
    report_only: Annotated[bool, typer.Option("--report_only", help="Train nothing.")] = False,
) -> None:
    """Make all tables and figures of the CGGM paper.

    \b
    Budgets:
      tiny   seconds of training for each run; shows that everything works, and nothing else
      small  an hour on two cores: embedded data, small networks, 3 seeds
      paper  each bundle's paper.json on the data sets that are given, 3 seeds; wants GPUs

    Finished runs are not repeated, stopped ones go on, failed ones are tried again and named in
    the report. The report is OUTPUT/report/index.html, beside each table and figure as files.
    """
    from ..experiments.runs import do_runs, unfinished
    from ..report.write_pieces import write_pieces
    from .budgets import BUNDLES, budget
    from .needs import check_items, runs_for
    from .pieces import pieces

    _check(jobs, memory_gb, benchmark)
    items = check_items(only)
    folders = dict(zip(BUNDLES, (food101, brats, mosi, iemocap), strict=True))
    chosen = budget(budget_name, {name: folder for name, folder in folders.items() if folder})
    runs = runs_for(items, chosen)
    folder = make_writable(output).resolve()
    measured = benchmark or folder / "benchmark.csv"
    if not report_only:
        try:
            do_runs(runs, folder / "runs", Machines(jobs=jobs, memory_gb=memory_gb))
            if "table8" in items and not measured.is_file():  # now that nothing else is at work
                _measure(measured, list(chosen.settings), chosen.steps)
        except KeyboardInterrupt as error:
            print(str(error) or "stopped by the user; the same command goes on", file=sys.stderr)
            raise typer.Exit(130) from error
    left = unfinished(runs, folder / "runs")  # refuses runs with other settings
    made = pieces(items, runs, folder / "runs", measured)
    page = write_pieces(folder / "report", TITLE, made, _notes(budget_name, runs, made))
    print(f"report: {page}")
    if left:
        raise typer.Exit(1)


def _check(jobs: int, memory_gb: float | None, benchmark: Path | None) -> None:
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}; expected 1 or more")
    if memory_gb is not None and memory_gb <= 0:
        raise InputError(f"--memory_gb is {memory_gb:g}; expected a number above 0")
    if benchmark is not None and not benchmark.is_file():
        raise InputError(f"--benchmark {benchmark}: there is no such file")


def _measure(path: Path, bundles: Sequence[str], steps: int) -> None:
    from .costs import measure

    print("measuring memory and time for Table 8", flush=True)
    try:
        measure(path, bundles, ("joint", "cggm"), steps)
    except subprocess.CalledProcessError as error:
        print(f"Table 8 could not be measured: {error}", file=sys.stderr)


def _notes(name: str, runs: Sequence[Run], made: Sequence[Piece]) -> list[str]:
    from ..report.pieces import MissingPiece
    from ..report.write_pieces import number_of

    lines = [
        f"Budget {name}, {len(runs)} runs. The paper's published figures stand in a neighboring "
        "column where data and recipe (--budget paper) are the paper's, and nowhere else."
    ]
    missing = [number_of(piece.name) for piece in made if isinstance(piece, MissingPiece)]
    return [*lines, *([f"Missing: {', '.join(missing)}; each says why."] if missing else [])]
