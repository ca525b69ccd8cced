"""The command ``cggm study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ....data.errors import InputError
from ...commands.start import make_writable
from ..experiments.machines import DEFAULT_JOBS, LOCAL

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
Output = Annotated[Path, typer.Option(help="Where results go.")]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="Primary questions only, fewer draws and rates, wider intervals."),
]
Families = Annotated[str | None, typer.Option(help="Of data, such as late,noise; default: all.")]
Methods = Annotated[
    str | None,
    typer.Option(help="Compared with joint training, such as cggm,agm; default: all."),
]

Draws = Annotated[
    int | None, typer.Option(min=3, help="Of each primary comparison, instead of 30 (quick: 5).")
]


@app.callback()
def main() -> None:
    """Does balancing beat joint training? Answers with intervals, on data of known imbalance."""


@app.command("run")
def run_command(
    quick: Quick = False,
    families: Families = None,
    methods: Methods = None,
    draws: Draws = None,
    jobs: Annotated[int, typer.Option(help="Trainings side by side.")] = DEFAULT_JOBS,
    output: Output = Path("output/study"),
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Ray cluster; local: this machine.")
    ] = LOCAL,
) -> None:
    """Train what is missing, then report. Stopped or killed at any time, it goes on."""
    from .plan import questions
    from .report import write_report
    from .work import run

    if jobs < 1:
        raise InputError(f"--jobs is {jobs}; expected 1 or more")
    asked = questions(_names(families), _names(methods), quick=quick, draws=draws)
    folder = make_writable(output).resolve()
    run(asked, folder, jobs, ray)
    for path in write_report(asked, folder):
        print(path)


@app.command("report")
def report_command(
    quick: Quick = False,
    families: Families = None,
    methods: Methods = None,
    draws: Draws = None,
    output: Output = Path("output/study"),
) -> None:
    """Write tables and figures of what was trained into OUTPUT/report."""
    from .plan import questions
    from .report import write_report

    asked = questions(_names(families), _names(methods), quick=quick, draws=draws)
    for path in write_report(asked, output):
        print(path)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
