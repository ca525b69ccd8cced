"""A grid, read and checked, and the runs that it asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ....data.errors import InputError, nearest
from ....data.files import read_json
from .bundles import Bundle, open_bundle
from .covered import ALL, covered
from .entries import Entry, entries, settings, sweeps, swept
from .run import Run

KEYS = ("bundle", "methods", "seeds", "settings", "vary", "modalities", "unimodal")
EXAMPLE = '{"bundle": "food101", "methods": ["joint", "cggm"], "seeds": [0, 1, 2]}'


class Plan(NamedTuple):
    """All runs of a grid, and in words which methods "all" left out."""

    runs: list[Run]
    left_out: list[str]


@dataclass(frozen=True)
class _Table:
    """Runs that are compared with each other: data, settings and modalities are the same."""

    bundle: Bundle
    label: str
    settings: Mapping[str, Any]
    modalities: tuple[str, ...] | None
    methods: list[Entry]
    unimodal: bool

    @property
    def names(self) -> tuple[str, ...]:
        return self.modalities or self.bundle.modalities


def read_grid(path: str | Path) -> dict[str, Any]:
    """Read a grid's file.

    Raises:
        InputError: there is no such file, or it is not a JSON object.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); pass the grid's file"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); a grid is {EXAMPLE}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; a grid is {EXAMPLE}")
    return content


def plan(grid: Mapping[str, Any]) -> Plan:
    """Make all runs of a grid, those of one seed together.

    Raises:
        InputError: the grid has a mistake.
    """
    _check_keys(grid)
    seeds = _seeds(grid.get("seeds", [0]))
    left_out: list[str] = []
    tables = [table for data in entries(grid, "bundle") for table in _tables(grid, data, left_out)]
    runs = [run for table in tables for seed in seeds for run in _of_seed(table, seed)]
    _check_folders(runs)
    for run in runs:
        open_bundle(run.bundle).check(run)
    return Plan(runs, left_out)


def _check_keys(grid: Mapping[str, Any]) -> None:
    for key in grid:
        if key not in KEYS:
            raise InputError(
                f"a grid has no entry {key!r}{nearest(key, KEYS)}; "
                f"its entries are {', '.join(KEYS)}"
            )
    if not isinstance(grid.get("unimodal", False), bool):
        raise InputError(f"'unimodal' is {grid['unimodal']!r} in the grid; it is true or false")


def _tables(grid: Mapping[str, Any], data: Entry, left_out: list[str]) -> list[_Table]:
    """One table, or one for each value of a setting that concerns all methods."""
    bundle = open_bundle(data.name)
    common = {**settings(grid.get("settings", {}), "the grid"), **data.settings}
    vary = {**sweeps(grid.get("vary", {}), "the grid"), **data.vary}
    modalities = _modalities(grid.get("modalities"), bundle, {**common, **vary})
    methods = _methods(grid, bundle, len(modalities or bundle.modalities), left_out)
    # In a table the method `unimodal` is its rows of single modalities, and nothing else.
    unimodal = grid.get("unimodal", False) or any(m.name == "unimodal" for m in methods)
    users = {name: bundle.users(name) for name in vary}
    _check_used(users, methods)
    rows = [
        row
        for method in methods
        if method.name != "unimodal"
        for row in swept(
            method,
            {**{n: v for n, v in vary.items() if method.name in users[n]}, **method.vary},
        )
    ]
    whole = Entry(data.name, data.label, common)
    return [
        _Table(bundle, entry.label, entry.settings, modalities, rows, unimodal)
        for entry in swept(whole, {n: v for n, v in vary.items() if not users[n]})
    ]


def _methods(
    grid: Mapping[str, Any], bundle: Bundle, modalities: int, left_out: list[str]
) -> list[Entry]:
    listed = entries(grid, "methods")
    for entry in listed:
        if entry.name in ("unimodal", ALL) and entry != Entry(entry.name, entry.name):
            raise InputError(f"{entry.name!r} takes no name, settings or sweep of its own")
    names, others = covered(bundle, modalities)
    if all(entry.name != ALL for entry in listed):
        for entry in listed:
            if entry.name in others:
                why = others[entry.name]
                raise InputError(f"{bundle.name} cannot be trained by {entry.name}: {why}")
        return listed
    left_out += [f"{bundle.name}: {name} is left out, {why}" for name, why in others.items()]
    own = [entry for entry in listed if entry.name != ALL]
    said = {entry.label for entry in own}
    return [*(Entry(name, name) for name in names if name not in said), *own]


def _check_used(users: Mapping[str, set[str]], methods: Sequence[Entry]) -> None:
    for name, who in users.items():
        if who and not any(method.name in who for method in methods):
            raise InputError(
                f"the grid varies {name!r}, a setting of {' and '.join(sorted(who))}, which is "
                "not among its methods"
            )


def _of_seed(table: _Table, seed: int) -> list[Run]:
    run = partial(
        Run,
        bundle=table.bundle.name,
        data=table.label,
        seed=seed,
        settings=table.settings,
        modalities=table.modalities,
    )
    runs = [run(method=m.name, label=m.label, own=m.settings) for m in table.methods]
    if not table.unimodal or len(table.names) < 2:
        return runs
    if table.bundle.tests_alone:
        return [*runs, run(method="unimodal", label="unimodal", alone=table.names)]
    singles = [
        run(method="joint", label=f"{name} only", modalities=(name,), single=True)
        for name in table.names
    ]
    return [*runs, *singles]


def _seeds(given: Any) -> list[int]:
    whole = isinstance(given, int) and not isinstance(given, bool) and given > 0
    listed: Any = list(range(given)) if whole else given
    if (
        not isinstance(listed, list)
        or not listed
        or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in listed)
        or len(set(listed)) < len(listed)
    ):
        raise InputError(
            f"'seeds' is {given!r} in the grid; expected different whole numbers such as [0, 1, 2]"
        )
    return listed


def _modalities(given: Any, bundle: Bundle, common: Mapping[str, Any]) -> tuple[str, ...] | None:
    if bundle.setting in common:
        raise InputError(
            f"{bundle.setting!r} is in the settings; name them in the grid's entry 'modalities'"
        )
    if given is None:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(n, str) for n in given):
        raise InputError(
            f"'modalities' is {given!r} in the grid; expected a list of names such as "
            f"{json.dumps(bundle.modalities)}"
        )
    wrong = [name for name in given if name not in bundle.modalities]
    if wrong and not common.get("dataset_dir"):
        raise InputError(
            f"{bundle.name} has no modality {wrong[0]!r}; it has {', '.join(bundle.modalities)}"
        )
    return tuple(given)


def _check_folders(runs: Sequence[Run]) -> None:
    seen: dict[Path, Run] = {}
    for run in runs:
        other = seen.setdefault(run.folder(Path()), run)
        if other is not run:
            raise InputError(
                f"the grid has two runs for the folder {run.folder(Path())}; give the methods or "
                'data different names with "as"'
            )
