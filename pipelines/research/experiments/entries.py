"""Entries of a grid: bundles and methods with their labels, settings and sweeps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....data.errors import InputError
from .run import slug

# These are what a grid varies or decides for all runs alike.
RESERVED = ("method", "seed", "output_dir", "resume", "ckpt_path", "part", "is_main")
_KEYS = ("name", "as", "settings", "vary")


@dataclass(frozen=True)
class Entry:
    """A bundle or a method of the grid: its name, its label, its settings, their sweeps."""

    name: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, list[Any]] = field(default_factory=dict)


def entries(grid: Mapping[str, Any], key: str) -> list[Entry]:
    """Read a grid's bundles or methods.

    Raises:
        InputError: there are none, or one is not as it should be.
    """
    given = grid.get(key)
    listed = given if isinstance(given, list) else [given]
    if given is None or not listed:
        raise InputError(f"the grid says no {key!r}; it needs one or more names")
    return [_entry(item, key) for item in listed]


def swept(entry: Entry, vary: Mapping[str, list[Any]]) -> list[Entry]:
    """An entry for each combination of values, named after them; the entry itself without any.

    >>> [e.label for e in swept(Entry("cggm", "cggm"), {"rho": [1, 2], "lam": [0.1]})]
    ['cggm rho=1 lam=0.1', 'cggm rho=2 lam=0.1']
    """
    combinations = []
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        words = [f"{re.split('#|::', name)[-1]}={value}" for name, value in chosen.items()]
        label = " ".join([entry.label, *words])
        combinations.append(Entry(entry.name, label, {**entry.settings, **chosen}))
    return combinations


def settings(given: Any, owner: str) -> dict[str, Any]:
    """Check settings of a grid.

    Raises:
        InputError: they are no mapping, or name what experiments set themselves.
    """
    if not isinstance(given, dict):
        raise InputError(f"the settings of {owner} are {given!r}; expected {{name: value}}")
    _check_names(given, owner)
    return dict(given)


def sweeps(given: Any, owner: str) -> dict[str, list[Any]]:
    """Check the sweeps of a grid or a method.

    Raises:
        InputError: they are no lists of different values, or of what experiments set themselves.
    """
    if not isinstance(given, dict):
        raise InputError(f"'vary' of {owner} is {given!r}; expected {{name: [value, value]}}")
    _check_names(given, owner)
    for name, values in given.items():
        if not isinstance(values, list) or len({slug(str(value)) for value in values}) < 2:
            raise InputError(
                f"{owner} varies {name!r} over {values!r}; expected a list of two or more "
                "different values"
            )
    return dict(given)


def _check_names(given: Collection[str], owner: str) -> None:
    for name in given:
        if name in RESERVED:
            raise InputError(
                f"{owner} sets {name!r}, which experiments set themselves; leave it out"
            )


def _entry(item: Any, key: str) -> Entry:
    if isinstance(item, str):
        return Entry(item, item)
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InputError(
            f"{key!r} has {item!r} in the grid; expected a name, or "
            '{"name": …, "as": "its row in the table", "settings": {…}, "vary": {…}}'
        )
    name, owner = item["name"], repr(item["name"])
    wrong = [word for word in item if word not in _KEYS]
    if wrong:
        raise InputError(
            f"{owner} has the entry {wrong[0]!r} in the grid; expected {', '.join(_KEYS)}"
        )
    label = item.get("as", name)
    if not isinstance(label, str) or not slug(label):
        raise InputError(f"{owner} is called {label!r} in the grid; 'as' is a text")
    return Entry(
        name, label, settings(item.get("settings", {}), owner), sweeps(item.get("vary", {}), owner)
    )
