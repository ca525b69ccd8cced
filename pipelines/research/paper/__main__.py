"""Which tables and figures, with which budget? ``cggm paper --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ....data.errors import InputError
from ...commands.failures import report_plainly
from ...commands.start import make_writable
from ..experiments.run import Run
from ..report.pieces import MissingPiece, Piece
from ..report.write_pieces import number_of, write_pieces
from .budgets import BUNDLES, budget
from .needs import check_items, runs_for
from .show import pieces
from .work import benchmark, do_runs, unfinished

EPILOG = """\
budgets:
  tiny   seconds of training for each run; shows that everything works, and nothing else
  small  an hour on two cores: embedded data, small networks, 3 seeds
  paper  each bundle's paper.json on the data sets that are given, 3 seeds; wants GPUs

Finished runs are not repeated, stopped ones go on, failed ones are tried again and named in the
report. The report is OUTPUT/report/index.html, beside each table and figure as files.
"""


def main(words: Sequence[str] | None = None) -> None:
    """Plan, run, and write the report; end with 1 if a run is not finished."""
    report_plainly()
    known = _options(words)
    items = check_items(known.only)
    folders = {bundle: getattr(known, bundle) for bundle in BUNDLES if getattr(known, bundle)}
    chosen = budget(known.budget, folders)
    runs = runs_for(items, chosen)
    output = make_writable(known.output).resolve()
    measured = known.benchmark or output / "benchmark.csv"
    if not known.report_only:
        try:
            do_runs(runs, output / "runs", jobs=known.jobs, memory_gb=known.memory_gb)
            if "table8" in items:  # now that nothing else is at work
                benchmark(list(chosen.settings), measured, chosen.steps)
        except KeyboardInterrupt:
            print("stopped by the user; the same command goes on", file=sys.stderr)
            sys.exit(130)
    left = unfinished(runs, output / "runs")  # refuses runs with other settings
    made = pieces(items, runs, output / "runs", measured)
    title = "Tables and figures of the CGGM paper"
    page = write_pieces(output / "report", title, made, _notes(known.budget, runs, made))
    print(f"report: {page}")
    sys.exit(1 if left else 0)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    known = _parser().parse_args(words)
    if known.jobs < 1:
        raise InputError(f"--jobs is {known.jobs}; expected 1 or more")
    if known.memory_gb is not None and known.memory_gb <= 0:
        raise InputError(f"--memory_gb is {known.memory_gb:g}; expected a number above 0")
    if known.benchmark is not None and not known.benchmark.is_file():
        raise InputError(f"--benchmark {known.benchmark}: there is no such file")
    return known


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm paper",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make all tables and figures of the CGGM paper.",
        epilog=EPILOG,
    )
    parser.add_argument("--budget", default="small", help="tiny, small or paper; default: small")
    for bundle in BUNDLES:
        parser.add_argument(f"--{bundle}", metavar="FOLDER", help=f"data set for {bundle}")
    parser.add_argument("--only", help="such as table6,figure5; default: everything")
    parser.add_argument("--output", default="output/paper", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side; default: 2")
    parser.add_argument("--memory_gb", type=float, help="most memory for all runs together")
    parser.add_argument(
        "--benchmark",
        type=Path,
        metavar="CSV",
        help="of benchmarks/methods.py; default: OUTPUT/benchmark.csv",
    )
    parser.add_argument("--report_only", action="store_true", help="train nothing")
    return parser


def _notes(name: str, runs: Sequence[Run], made: Sequence[Piece]) -> list[str]:
    lines = [
        f"Budget {name}, {len(runs)} runs. The paper's published figures stand in a neighboring "
        "column where the data set is the paper's, and nowhere else."
    ]
    missing = [number_of(piece.name) for piece in made if isinstance(piece, MissingPiece)]
    return [*lines, *([f"Missing: {', '.join(missing)}; each says why."] if missing else [])]


if __name__ == "__main__":
    main()
