"""What does a bundle call things, and which commands train and test it?"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pydoc import locate
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ReferenceResolver

from ...data.errors import InputError
from ..command_line.overrides import check_overrides
from .run import Run


@dataclass(frozen=True)
class Bundle:
    """A bundle's configurations.

    Attributes:
        name: of its folder.
        folder: that folder.
        train: content of ``train.json``.
        evaluate: content of ``evaluate.json``.
    """

    name: str
    folder: Path
    train: Mapping[str, Any]
    evaluate: Mapping[str, Any]

    @property
    def setting(self) -> str:
        """What the bundle calls its modalities."""
        return "sequences" if "sequences" in self.train else "modalities"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of a training that is told nothing."""
        return tuple(self.train[self.setting])

    @property
    def tests_alone(self) -> bool:
        """Whether networks that were trained side by side can be tested one by one."""
        return self.setting == "modalities"

    @property
    def task(self) -> str:
        """ "classification", "regression" or "segmentation"."""
        features = self.train.get("features")
        return features.get("task", "classification") if features else "segmentation"

    def users(self, setting: str) -> set[str]:
        """The methods that a setting is for; none where it concerns all of them.

        Both ways to write one are known: ``rho``, and ``methods#cggm#rho``.
        """
        path = ReferenceResolver.split_id(setting)
        if path[0] == "methods":
            return {path[1]} if len(path) > 1 else set()
        others = {name: value for name, value in self.train.items() if name != "methods"}
        if setting in _references(others):
            return set()
        return {name for name, own in self.train["methods"].items() if setting in _references(own)}

    def check(self, run: Run) -> None:
        """Refuse settings that neither configuration has, before anything is started.

        Raises:
            InputError: a setting is unknown, unfit, or of another method.
        """
        given = self._settings(run)
        training = {k: v for k, v in given.items() if self._is_of_training(k)}
        try:
            check_overrides(self.train, {**training, "method": run.method}, free=("methods",))
            testing = {k: v for k, v in given.items() if k in self.evaluate}
            check_overrides(self.evaluate, testing)
        except InputError as error:
            raise InputError(f"{run.data}, {run.label}: {error}") from error

    def configurations(self, run: Run, folder: Path) -> dict[str, dict[str, Any]]:
        """``train.json`` and ``evaluate.json`` as this run has them, by file name."""
        found = {}
        for name, config, given in (
            ("train.json", self.train, self._for_training(run, folder)),
            ("evaluate.json", self.evaluate, self._for_testing(run, folder)),
        ):
            parser = ConfigParser(copy.deepcopy(dict(config)))
            parser.update(given)
            found[name] = parser.get()
        return found

    def training(self, run: Run, folder: Path, *, resume: bool) -> list[str]:
        """What follows `python -m`, to train."""
        given = self._for_training(run, folder)
        return self._command("train.json", {**given, **({"resume": True} if resume else {})})

    def testing(self, run: Run, folder: Path, alone: str | None = None) -> list[str]:
        """What follows `python -m`, to test `model.pt` of a finished training."""
        given = self._for_testing(run, folder)
        if alone is not None:
            given[self.setting] = [alone]
        # Feature bundles read the rule from the file of the weights by themselves.
        rule = json.loads((folder / "models" / "model.json").read_text()).get("late_fusion")
        if "late_fusion" in self.evaluate and rule is not None:
            given["late_fusion"] = rule
        return self._command("evaluate.json", given)

    def _for_training(self, run: Run, folder: Path) -> dict[str, Any]:
        given = {k: v for k, v in self._settings(run).items() if self._is_of_training(k)}
        return {**given, "method": run.method, "seed": run.seed, "output_dir": str(folder)}

    def _for_testing(self, run: Run, folder: Path) -> dict[str, Any]:
        given = {k: v for k, v in self._settings(run).items() if k in self.evaluate}
        return {**given, "output_dir": str(folder), "part": "test"}

    def _settings(self, run: Run) -> dict[str, Any]:
        given = {**run.settings, **run.own}
        return given if run.modalities is None else {**given, self.setting: list(run.modalities)}

    def _is_of_training(self, name: str) -> bool:
        return name not in self.evaluate or name in self.train

    def _command(self, config: str, given: Mapping[str, Any]) -> list[str]:
        words = [f"--{name}={as_word(value)}" for name, value in given.items()]
        path = str(self.folder / config)
        return ["monai.bundle", "run", "--config_file", path, *words]


@lru_cache
def open_bundle(name: str) -> Bundle:
    """Find a bundle by its name.

    Raises:
        InputError: there is no such bundle.
    """
    # Bundles name pipelines, so pipelines import no bundle; the name is looked up as in a config.
    path: Any = locate("cggm.bundles.path")
    try:
        folder = Path(path(name))
    except ValueError as error:
        raise InputError(str(error)) from error
    train, evaluate = (
        json.loads((folder / f"{config}.json").read_text()) for config in ("train", "evaluate")
    )
    return Bundle(name, folder, train, evaluate)


def _references(content: Any) -> set[str]:
    if isinstance(content, str):
        return set(ReferenceResolver.match_refs_pattern(content))
    inside = content.values() if isinstance(content, dict) else content
    return set().union(*map(_references, inside)) if isinstance(inside, Iterable) else set()


def as_word(value: Any) -> str:
    """Write a value so that MONAI's command line reads the same value.

    >>> as_word(["text"]), as_word("paper"), as_word("12"), as_word(None)
    ("['text']", 'paper', "'12'", '$None')
    """
    if value is None:  # MONAI drops a plain None and keeps the bundle's value
        return "$None"
    if not isinstance(value, str):
        return repr(value)
    return value if DefaultParseValue(value) == value else repr(value)


def from_word(word: str) -> Any:
    """Read a value as Python writes it; anything else is a text."""
    try:
        return {"null": None, "true": True, "false": False}.get(word, ast.literal_eval(word))
    except (ValueError, SyntaxError):
        return {"null": None, "true": True, "false": False}.get(word, word)
