"""The grid that the words of a command line describe."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....data.errors import InputError
from .grid import read_grid

_JSON_WORDS = {"null": None, "true": True, "false": False}


@dataclass(frozen=True)
class GridOptions:
    """What the command line says of a grid; None and empty where it says nothing.

    Attributes:
        file: of the grid.
        bundle: names, separated by commas.
        methods: likewise.
        seeds: how many, or which, separated by commas.
        modalities: names, separated by commas.
        unimodal: also each modality alone.
        epochs: of every training.
        settings: NAME=VALUE each.
        vary: NAME=VALUE,VALUE each.
    """

    file: str | None = None
    bundle: str | None = None
    methods: str | None = None
    seeds: str | None = None
    modalities: str | None = None
    unimodal: bool = False
    epochs: int | None = None
    settings: Sequence[str] = ()
    vary: Sequence[str] = ()

    def grid(self) -> dict[str, Any]:
        """The grid's file, with the options in the place of its entries.

        Raises:
            InputError: the file cannot be read, or an option is not NAME=VALUE.
        """
        grid = read_grid(self.file) if self.file else {}
        names = {"bundle": self.bundle, "methods": self.methods, "modalities": self.modalities}
        grid |= {entry: text.split(",") for entry, text in names.items() if text}
        if self.seeds:
            listed = [from_word(word) for word in self.seeds.split(",")]
            grid["seeds"] = listed if "," in self.seeds else listed[0]
        if self.unimodal:
            grid["unimodal"] = True
        settings = {name: from_word(text) for name, text in _pairs(self.settings, "--settings")}
        if self.epochs is not None:
            settings["epochs"] = self.epochs
        vary = {
            name: [from_word(word) for word in text.split(",")]
            for name, text in _pairs(self.vary, "--vary")
        }
        for entry, own in (("settings", settings), ("vary", vary)):
            in_file = grid.get(entry, {})
            if own and isinstance(in_file, dict):  # anything else is refused with the grid
                grid[entry] = {**in_file, **own}
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


def _pairs(words: Sequence[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise InputError(f"{option} has {word!r}; expected NAME=VALUE such as epochs=5")
        pairs.append((name, text))
    return pairs
