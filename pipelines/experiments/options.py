"""What can be said on the command line, and which grid does it make?"""

from __future__ import annotations

import argparse
from typing import Any

from ...data.errors import InputError
from .bundles import from_word
from .grid import read_grid

GRID_HELP = """\
A grid is a JSON file:

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


def read_options(words: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        InputError: a value is out of its range.
    """
    known = _parser().parse_args(words)
    for name in ("jobs", "memory_gb", "run_memory_gb"):
        value = getattr(known, name)
        if value is not None and value <= 0:
            raise InputError(f"--{name} is {value:g}; expected a number above 0")
    if known.run_gpus < 0:
        raise InputError(f"--run_gpus is {known.run_gpus:g}; expected 0 or more")
    if known.run_gpus and known.ray is None:
        raise InputError("--run_gpus is for --ray, which gives each run GPUs of its own")
    if known.memory_gb is not None and known.ray is not None:
        raise InputError(
            "--memory_gb is for runs on this machine; with --ray, --run_memory_gb is what each "
            "run asks for"
        )
    return known


def grid_of(known: argparse.Namespace) -> dict[str, Any]:
    """The grid's file, with the options in the place of its entries.

    Raises:
        InputError: the file cannot be read, or an option is not NAME=VALUE.
    """
    grid = read_grid(known.grid) if known.grid else {}
    for name in ("bundle", "methods", "modalities"):
        if getattr(known, name):
            grid[name] = getattr(known, name).split(",")
    if known.seeds:
        listed = [from_word(word) for word in known.seeds.split(",")]
        grid["seeds"] = listed if "," in known.seeds else listed[0]
    if known.unimodal:
        grid["unimodal"] = True
    given = {name: from_word(text) for name, text in _pairs(known.settings, "--settings")}
    if known.epochs is not None:
        given["epochs"] = known.epochs
    vary = {
        name: [from_word(word) for word in text.split(",")]
        for name, text in _pairs(known.vary, "--vary")
    }
    for name, own in (("settings", given), ("vary", vary)):
        if own:
            grid[name] = {**grid.get(name, {}), **own}
    return grid


def _pairs(words: list[str], option: str) -> list[tuple[str, str]]:
    for word in words:
        if "=" not in word:
            raise InputError(f"{option} has {word!r}; expected NAME=VALUE such as epochs=5")
    return [(name, text) for name, _, text in (word.partition("=") for word in words)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cggm.pipelines.experiments",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train and test every method of a grid with every seed.",
        epilog=GRID_HELP,
    )
    add = parser.add_argument
    add("grid", nargs="?", help="the grid's file; options below replace its entries")
    add("--bundle", help="such as food101, or several: food101,mosi")
    add("--methods", help="such as joint,cggm; all: every method that can train the bundle")
    add("--seeds", help="how many, or which: 0,1,2")
    add("--epochs", type=int, help="short for --settings epochs=N")
    add("--modalities", help="such as text,image")
    add("--unimodal", action="store_true", help="also each modality alone")
    add("--settings", nargs="+", default=[], metavar="NAME=VALUE")
    add("--vary", nargs="+", default=[], metavar="NAME=VALUE,VALUE", help="such as rho=0.5,1.3")
    add("--output", default="output/experiments", help="default: %(default)s")
    add("--jobs", type=int, help="most runs side by side; default: 2, of a cluster its CPUs")
    add(
        "--memory_gb",
        type=float,
        help="most memory for all runs together; default: 90 %% of what is free",
    )
    add(
        "--run_memory_gb",
        type=float,
        default=1.5,
        help="what one run is taken to need, and asks a cluster for; default: %(default)s",
    )
    add("--ray", metavar="ADDRESS", help="run on this Ray cluster; local: on one started here")
    add("--run_gpus", type=float, default=0, help="GPUs that one run asks a cluster for")
    return parser
