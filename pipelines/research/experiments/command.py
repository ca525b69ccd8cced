"""The command ``cggm experiments``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ....data.errors import InputError
from ....data.word_lists import WordLists
from ...commands.start import make_writable
from .machines import DEFAULT_JOBS, DEFAULT_MEMORY, LOCAL, Machines

GRID_HELP = """\b
A grid is a JSON file:

\b
  {"bundle": "food101",                     or a list; or {"name": "food101", "as": "foods",
                                            "settings": {"dataset_dir": "output/stand_ins/foods"}}
   "methods": ["joint", "cggm",             or "all"; or {"name": "cggm", "as": "printed rule",
                                            "settings": {"rule": "paper"}, "vary": {"lam": [0, 1]}}
   "seeds": [0, 1, 2],                      or how many
   "settings": {"epochs": 5},               of train.json and evaluate.json, for all runs
   "vary": {"rho": [0.5, 1.3]},             settings that take several values
   "modalities": null,                      or a list of names
   "unimodal": true}                        also train on each modality alone

Each run is train.json, then evaluate.json on the test part, in OUTPUT/DATA/METHOD/seed-N. Runs
that are finished are not repeated, runs that were stopped go on. Ends with 1 if any run failed.
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=WordLists, epilog=GRID_HELP)
def main(
    grid: Annotated[
        str | None,
        typer.Argument(help="The grid's file; options below replace its entries.", metavar="GRID"),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Such as food101, or several: food101,mosi.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Such as joint,cggm; all: every method that can train the bundle."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="How many, or which: 0,1,2.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --settings epochs=N.")] = None,
    modalities: Annotated[str | None, typer.Option(help="Such as text,image.")] = None,
    unimodal: Annotated[bool, typer.Option("--unimodal", help="Also each modality alone.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE ...", help="Such as epochs=5 lr=0.01."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE,VALUE ...", help="Such as rho=0.5,1.3."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where all runs go.")] = Path("output/experiments"),
    jobs: Annotated[
        int | None,
        typer.Option(
            help=f"Most runs side by side; default: {DEFAULT_JOBS}, of a cluster its CPUs."
        ),
    ] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            "--memory_gb", help="Most memory for all runs together; default: what is free."
        ),
    ] = None,
    run_memory_gb: Annotated[
        float, typer.Option("--run_memory_gb", help="What one run asks for.")
    ] = DEFAULT_MEMORY,
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Ray cluster; local: this machine.")
    ] = LOCAL,
    run_gpus: Annotated[
        float, typer.Option("--run_gpus", help="GPUs that one run asks for, such as 0.5.")
    ] = 0,
) -> None:
    """Train and test every method of a grid with every seed."""
    from .grid import plan
    from .options import GridOptions
    from .runs import do_runs

    machines = _machines(ray, jobs, memory_gb, run_memory_gb, run_gpus)
    options = GridOptions(
        grid, bundle, methods, seeds, modalities, unimodal, epochs, settings or (), vary or ()
    )
    runs, left_out = plan(options.grid())
    for line in left_out:
        print(line)
    folder = make_writable(output).resolve()
    try:
        failed = do_runs(runs, folder, machines)
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        raise typer.Exit(130) from error
    if len(failed) < len(runs):
        print(f"tables: cggm tables {folder}")
    if failed:
        raise typer.Exit(1)


def _machines(
    ray: str, jobs: int | None, memory_gb: float | None, run_memory_gb: float, run_gpus: float
) -> Machines:
    numbers = {"jobs": jobs, "memory_gb": memory_gb, "run_memory_gb": run_memory_gb}
    for name, value in numbers.items():
        if value is not None and value <= 0:
            raise InputError(f"--{name} is {value:g}; expected a number above 0")
    if run_gpus < 0:
        raise InputError(f"--run_gpus is {run_gpus:g}; expected 0 or more")
    machines = Machines(ray, jobs, memory_gb, run_memory_gb, run_gpus)
    if memory_gb is not None and not machines.are_here:
        raise InputError(
            "--memory_gb is for runs on this machine; with --ray, --run_memory_gb is what each "
            "run asks for"
        )
    return machines
