"""Steps that demonstrations share: a bundle's commands as a user runs them, and their files."""

from __future__ import annotations

import csv
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from ....data.files import read_json, write_json


def settings_of(words: Sequence[str]) -> dict[str, str]:
    """Read overrides, ``--name value`` or ``--name=value``; of one given twice the last counts.

    Raises:
        InputError: they are written in another way.
    """
    settings: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        after = value if equals else next(rest, None)
        if not name.startswith("--") or after is None or after.startswith("--"):
            raise InputError(f"cannot read {word!r}: settings of the training are --name value")
        settings[name.removeprefix("--")] = after
    return settings


def train(bundle: Path, folder: Path, settings: Mapping[str, str]) -> float:
    """Train unless that is done already; return the seconds it took.

    Raises:
        InputError: it was done with other settings.
    """
    done = folder / "training.json"
    if done.is_file() and (folder / "models" / "last.pt").is_file():
        before = content(done)
        if before["settings"] != settings:
            raise InputError(
                f"{folder} was trained with {shown(before['settings'])}, not with "
                f"{shown(settings)}: delete it, or choose another --output_dir"
            )
        print(f"{folder.name}: trained already in {folder}", flush=True)
        return before["seconds"]
    began = time.monotonic()
    resume = ["--resume"] if (folder / "models" / "last.pt").is_file() else []
    run(bundle / "train.json", folder, settings, *resume)
    seconds = round(time.monotonic() - began, 1)
    write_json(done, {"seconds": seconds, "settings": settings})
    return seconds


def run(config: Path, folder: Path, settings: Mapping[str, str], *flags: str) -> None:
    """Run a configuration of a bundle; stop where it fails."""
    trusted = ["-W", "ignore:parsing config_file"]  # MONAI's warning of foreign configurations
    command = [sys.executable, *trusted, "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += ["--output_dir", str(folder), *_words(settings), *flags]
    print(f"\n$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def shared(settings: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Of the settings of a training, those that other configurations have too."""
    return {name: value for name, value in settings.items() if name in names}


def table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def content(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return read_json(path)


def _words(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def shown(settings: Mapping[str, str]) -> str:
    """Settings as they are written on the command line."""
    return shlex.join(_words(settings)) or "the defaults"
