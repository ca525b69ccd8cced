"""A bundle's configurations and names, and the commands that train and test it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ReferenceResolver

from ....bundles import path
from ....data.errors import InputError
from ....data.files import read_json
from ...commands.overrides import check_overrides, users_of
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
    def recipe(self) -> dict[str, Any]:
        """The paper's settings, ``paper.json``; the method, which experiments set, left out."""
        content = read_json(self.folder / "paper.json")
        return {name: value for name, value in content.items() if name != "method"}

    @property
    def task(self) -> str:
        """ "classification", "regression" or "segmentation"."""
        features = self.train.get("features")
        return features.get("task", "classification") if features else "segmentation"

    def users(self, setting: str) -> set[str]:
        """The methods that a setting is for; none where it concerns all of them.

        Both ways to write one are known: ``rho``, and ``methods#cggm#rho``.
        """
        keys = ReferenceResolver.split_id(setting)
        if keys[0] == "methods":
            return {keys[1]} if len(keys) > 1 else set()
        return set(users_of(self.train, setting))

    def check(self, run: Run) -> None:
        """Refuse settings that neither configuration has, before anything is started.

        Raises:
            InputError: a setting is unknown, unfit, or of another method.
        """
        training = {**self._of_training(run), "method": run.method}
        try:
            check_overrides(self.train, training, free=("methods",))
            check_overrides(self.evaluate, self._of_testing(run))
        except InputError as error:
            raise InputError(f"{run.data}, {run.label}: {error}") from error

    def configurations(self, run: Run, folder: Path) -> dict[str, dict[str, Any]]:
        """``train.json`` and ``evaluate.json`` as this run has them, by file name."""
        configurations = {}
        for name, config, given in (
            ("train.json", self.train, self._for_training(run, folder)),
            ("evaluate.json", self.evaluate, self._for_testing(run, folder)),
        ):
            parser = ConfigParser(copy.deepcopy(dict(config)))
            parser.update(given)
            configurations[name] = parser.get()
        return configurations

    def training(self, run: Run, folder: Path, *, resume: bool) -> list[str]:
        """What follows `python -m`, to train."""
        given = self._for_training(run, folder)
        return self._command("train.json", {**given, **({"resume": True} if resume else {})})

    def testing(self, run: Run, folder: Path, alone: str | None = None) -> list[str]:
        """What follows `python -m`, to test a finished training.

        Of the weights those that the bundle evaluates: `last.pt` for BraTS, else `model.pt`.
        """
        given = self._for_testing(run, folder)
        if alone is not None:
            given[self.setting] = [alone]
        return self._command("evaluate.json", given)

    def _for_training(self, run: Run, folder: Path) -> dict[str, Any]:
        own = {"method": run.method, "seed": run.seed, "output_dir": str(folder)}
        # Figures compare the scores of all methods.
        return {"score_modalities": not run.single, **self._of_training(run), **own}

    def _for_testing(self, run: Run, folder: Path) -> dict[str, Any]:
        return {**self._of_testing(run), "output_dir": str(folder), "part": "test"}

    def _of_training(self, run: Run) -> dict[str, Any]:
        # What neither configuration has is kept, to be refused.
        given = self._settings(run)
        return {k: v for k, v in given.items() if k in self.train or k not in self.evaluate}

    def _of_testing(self, run: Run) -> dict[str, Any]:
        return {k: v for k, v in self._settings(run).items() if k in self.evaluate}

    def _settings(self, run: Run) -> dict[str, Any]:
        given = {**run.settings, **run.own}
        return given if run.modalities is None else {**given, self.setting: list(run.modalities)}

    def _command(self, config: str, given: Mapping[str, Any]) -> list[str]:
        words = [f"--{name}={as_word(value)}" for name, value in given.items()]
        return ["monai.bundle", "run", "--config_file", str(self.folder / config), *words]


@lru_cache
def open_bundle(name: str) -> Bundle:
    """Find a bundle by its name.

    Raises:
        InputError: there is no such bundle.
    """
    try:
        folder = Path(path(name))
    except ValueError as error:
        raise InputError(str(error)) from error
    train, evaluate = (read_json(folder / f"{config}.json") for config in ("train", "evaluate"))
    return Bundle(name, folder, train, evaluate)


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
