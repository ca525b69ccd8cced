"""What can be said on the command line, and which grid does it make?"""

from __future__ import annotations

import argparse
import ast
from typing import Any

from ....data.errors import InputError
from .grid import read_grid
from .schedule import FIRST_GUESS

_JSON_WORDS = {"null": None, "true": True, "false": False}

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
    options = _parser().parse_args(words)
    for name in ("jobs", "memory_gb", "run_memory_gb"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise InputError(f"--{name} is {value:g}; expected a number above 0")
    if options.run_gpus < 0:
        raise InputError(f"--run_gpus is {options.run_gpus:g}; expected 0 or more")
    if options.run_gpus and options.ray is None:
        raise InputError("--run_gpus is for --ray, which gives each run GPUs of its own")
    if options.memory_gb is not None and options.ray is not None:
        raise InputError(
            "--memory_gb is for runs on this machine; with --ray, --run_memory_gb is what each "
            "run asks for"
        )
    return options


def grid_of(options: argparse.Namespace) -> dict[str, Any]:
    """The grid's file, with the options in the place of its entries.

    Raises:
        InputError: the file cannot be read, or an option is not NAME=VALUE.
    """
    grid = read_grid(options.grid) if options.grid else {}
    for name in ("bundle", "methods", "modalities"):
        if getattr(options, name):
            grid[name] = getattr(options, name).split(",")
    if options.seeds:
        listed = [from_word(word) for word in options.seeds.split(",")]
        grid["seeds"] = listed if "," in options.seeds else listed[0]
    if options.unimodal:
        grid["unimodal"] = True
    given = {name: from_word(text) for name, text in _pairs(options.settings, "--settings")}
    if options.epochs is not None:
        given["epochs"] = options.epochs
    vary = {
        name: [from_word(word) for word in text.split(",")]
        for name, text in _pairs(options.vary, "--vary")
    }
    for name, own in (("settings", given), ("vary", vary)):
        in_file = grid.get(name, {})
        if own and isinstance(in_file, dict):  # anything else is refused with the grid
            grid[name] = {**in_file, **own}
    return grid


def from_word(word: str) -> Any:
    """Read a value as Python or JSON writes it; anything else is a text.

    >>> from_word("0.5"), from_word("null"), from_word("[1, 2]"), from_word("paper")
    (0.5, None, [1, 2], 'paper')
    """
    if word in _JSON_WORDS:
        return _JSON_WORDS[word]
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def _pairs(words: list[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise InputError(f"{option} has {word!r}; expected NAME=VALUE such as epochs=5")
        pairs.append((name, text))
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm experiments",
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
        default=FIRST_GUESS,
        help="what one run is taken to need, and asks a cluster for; default: %(default)s",
    )
    add("--ray", metavar="ADDRESS", help="run on this Ray cluster; local: on one started here")
    add("--run_gpus", type=float, default=0, help="GPUs that one run asks a cluster for")
    return parser
