"""Which runs does the user ask for, and is there a mistake in what they wrote?"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from .bundles import Bundle, open_bundle
from .run import Run, slug

KEYS = ("bundle", "methods", "seeds", "settings", "modalities", "unimodal")
# These are what a grid varies or decides for all runs alike.
RESERVED = ("method", "seed", "output_dir", "resume", "ckpt_path", "part", "is_main")
EXAMPLE = '{"bundle": "food101", "methods": ["joint", "cggm"], "seeds": [0, 1, 2]}'


@dataclass(frozen=True)
class Entry:
    """A bundle or a method of the grid: its name, its label, its own settings."""

    name: str
    label: str
    settings: Mapping[str, Any]


def read_grid(path: str | Path) -> dict[str, Any]:
    """Read a grid's file.

    Raises:
        InputError: there is no such file, or it is not a JSON object.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); pass the grid's file"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); a grid is {EXAMPLE}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; a grid is {EXAMPLE}")
    return content


def plan(grid: Mapping[str, Any]) -> list[Run]:
    """Make all runs of a grid, those of one seed together.

    Raises:
        InputError: the grid has a mistake.
    """
    for key in grid:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ";"
            raise InputError(
                f"a grid has no entry {key!r}{guess} its entries are {', '.join(KEYS)}"
            )
    sets = _entries(grid, "bundle")
    methods = _entries(grid, "methods")
    unimodal = grid.get("unimodal", False)
    if not isinstance(unimodal, bool):
        raise InputError(f"'unimodal' is {unimodal!r} in the grid; it is true or false")
    # In a table the method `unimodal` is its rows of single modalities, and nothing else.
    unimodal = unimodal or any(entry.name == "unimodal" for entry in methods)
    methods = [entry for entry in methods if entry.name != "unimodal"]
    settings = _settings(grid.get("settings", {}), "the grid")
    runs = []
    for entry in sets:
        bundle = open_bundle(entry.name)
        common = {**settings, **entry.settings}
        names = _modalities(grid.get("modalities"), bundle, common)
        for seed in _seeds(grid.get("seeds", [0])):
            runs += _of_seed(bundle, entry.label, methods, seed, common, names, unimodal)
    _check_folders(runs)
    for run in runs:
        open_bundle(run.bundle).check(run)
    return runs


def _of_seed(
    bundle: Bundle,
    data: str,
    methods: Sequence[Entry],
    seed: int,
    common: Mapping[str, Any],
    modalities: tuple[str, ...] | None,
    unimodal: bool,
) -> list[Run]:
    runs = [
        Run(bundle.name, data, m.name, m.label, seed, common, m.settings, modalities)
        for m in methods
    ]
    names = modalities or bundle.modalities
    if not unimodal or len(names) < 2:
        return runs
    if bundle.tests_alone:
        return [
            *runs,
            Run(bundle.name, data, "unimodal", "unimodal", seed, common, {}, modalities, names),
        ]
    return [
        *runs,
        *(
            Run(bundle.name, data, "joint", f"{n} only", seed, common, {}, (n,), single=True)
            for n in names
        ),
    ]


def _entries(grid: Mapping[str, Any], key: str) -> list[Entry]:
    given = grid.get(key)
    listed = given if isinstance(given, list) else [given]
    if given is None or not listed:
        raise InputError(f"the grid says no {key!r}; a grid is {EXAMPLE}")
    return [_entry(item, key) for item in listed]


def _entry(item: Any, key: str) -> Entry:
    if isinstance(item, str):
        return Entry(item, item, {})
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InputError(
            f"{key!r} has {item!r} in the grid; expected a name, or "
            '{"name": …, "as": "its row in the table", "settings": {…}}'
        )
    wrong = [name for name in item if name not in ("name", "as", "settings")]
    if wrong:
        raise InputError(
            f"{item['name']!r} has the entry {wrong[0]!r} in the grid; expected name, as, settings"
        )
    label = item.get("as", item["name"])
    if not isinstance(label, str) or not slug(label):
        raise InputError(f"{item['name']!r} is called {label!r} in the grid; 'as' is a text")
    return Entry(item["name"], label, _settings(item.get("settings", {}), item["name"]))


def _settings(given: Any, owner: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"the settings of {owner} are {given!r}; expected {{name: value}}")
    for name in given:
        if name in RESERVED:
            raise InputError(
                f"{owner} sets {name!r}, which experiments set themselves; leave it out"
            )
    return dict(given)


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
