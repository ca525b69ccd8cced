"""Networks to be trained before a method can start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from ...data.files import write_text
from ..methods import CATALOGUE

TEACHERS = "teachers"
DONE = "finished.txt"


def train_teachers(given: Mapping[str, Any], method: str, output_dir: str | Path) -> None:
    """Train the networks that a method learns from, by the same command, unless they are trained.

    They go into `<output_dir>/teachers`; a training that was stopped goes on.

    Args:
        given: what the user's command says.
        method: of the run at hand.
        output_dir: of the run at hand.

    Raises:
        InputError: several processes were started, of which each would train them, or their
            training failed.
    """
    stage = CATALOGUE[method].teachers_by if method in CATALOGUE else None
    folder = Path(output_dir) / TEACHERS
    if stage is None or (folder / DONE).is_file() or _points_elsewhere(given, method):
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"{method} learns from networks of single modalities, which are not trained yet: train "
            f"them first, with --method {stage} --output_dir {folder}, and create {folder / DONE}"
        )
    print(f"{method}: first the teachers, by --method {stage}, into {folder}", flush=True)
    settings = {**given, "method": stage, "output_dir": str(folder)}
    # A teacher has one modality, so there is none to drop.
    for name, off in {"modality_dropout": 0.0, "missing": None, "dropout_ramp": 0}.items():
        if name in settings:
            settings[name] = off
    settings["resume"] = (folder / "models" / "last.pt").is_file()
    # MONAI has just warned of this configuration.
    python = [sys.executable, "-W", "ignore:parsing config_file:UserWarning"]
    command = [*python, "-m", "monai.bundle", "run", *_words(settings, method)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise InputError(f"the teachers in {folder} could not be trained (exit code {code})")
    write_text(folder / DONE, f"trained by --method {stage}\n")


def _words(settings: Mapping[str, Any], method: str) -> list[str]:
    """What to write on the command line, without the settings of the method at hand.

    Texts are quoted, so that `20240101` stays one; None needs a way around MONAI.
    """
    others = {
        name: value
        for name, value in settings.items()
        if f"#{method}#" not in name.replace("::", "#")
    }
    return [f"--{name}={'$None' if v is None else v!r}" for name, v in others.items()]


def _points_elsewhere(given: Mapping[str, Any], method: str) -> bool:
    """Whether the user names teachers of an earlier training."""
    return f"methods#{method}#teachers" in given or f"methods::{method}::teachers" in given
