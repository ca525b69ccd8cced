"""A look at settings with which a run would fail at once, without data and before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ReferenceResolver

from ....data.errors import InputError
from ...commands.failures import reason_of
from ...commands.overrides import references
from .bundles import open_bundle
from .run import Run

# Entries of a training that check their own settings and need neither data nor network.
PARTS = ("method_def", "task", "metric")
PATHS = {"dataset_dir": ("folder", Path.is_dir), "split_file": ("file", Path.is_file)}


def look_ahead(runs: Sequence[Run]) -> None:
    """Refuse settings with which a run would fail at once, of each row once for all its seeds.

    Raises:
        InputError: names data, row and setting.
    """
    rows = {(run.data, run.label): run for run in runs}
    for run in rows.values():
        # Which folder it is changes nothing: nothing is read or written there.
        config = open_bundle(run.bundle).configurations(run, Path())["train.json"]
        reason = _refusal(ConfigParser(_with_what_they_need(config, (*PATHS, *PARTS))))
        if reason is not None:
            raise InputError(f"{run.data}, {run.label}: {reason}")


def _refusal(config: ConfigParser) -> str | None:
    """What is wrong, in a sentence; a fault of the program is left to the run, which shows it."""
    try:
        for name, (kind, is_there) in PATHS.items():
            path = config.get_parsed_content(name)
            if path is not None and not is_there(Path(path)):
                return f"{name!r} is {path!r}, and there is no such {kind}"
        for name in PARTS:
            if name in config:
                config.get_parsed_content(name)
    except Exception as error:
        return reason_of(error)
    return None


def _with_what_they_need(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The entries of these names and those that they refer to; MONAI would read all of them."""
    entries: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = ReferenceResolver.split_id(waiting.pop())[0]
        if name in config and name not in entries:
            entries[name] = config[name]
            waiting += references(config[name])
    return entries
