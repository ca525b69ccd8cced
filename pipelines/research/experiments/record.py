"""The record of a run, and whether a record that lies in its folder is of the same run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from ....data.files import read_json, write_json
from .run import FILE, Run

RUNNING, FINISHED, FAILED, STOPPED = "running", "finished", "failed", "stopped"


def read_record(folder: Path) -> dict[str, Any] | None:
    """What an earlier call kept of the run in this folder; None when there was none.

    Raises:
        InputError: the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove its folder") from error
    if not isinstance(content, dict) or "state" not in content or not _has_figures(content):
        raise InputError(f"{path} is no record of a run; remove its folder")
    return content


def _has_figures(content: Mapping[str, Any]) -> bool:
    """Whether a finished run tells numbers by row and name."""
    rows = content.get("figures")
    if content["state"] != FINISHED:
        return True
    return isinstance(rows, dict) and all(
        isinstance(row, dict) and all(v is None or isinstance(v, int | float) for v in row.values())
        for row in rows.values()
    )


def earlier(run: Run, output: Path) -> dict[str, Any] | None:
    """The record of an earlier call, if it is of the same run.

    A run that failed before its first epoch leaves nothing worth keeping, so its settings may
    have changed.

    Raises:
        InputError: the folder holds a run with other settings.
    """
    folder = run.folder(output)
    record = read_record(folder)
    if record is None:
        return None
    wanted = json.loads(json.dumps(run.identity()))
    differing = [key for key in wanted if record.get(key) != wanted[key]]
    if not differing:
        return record
    if not record.get("trained") and not (folder / "models" / "last.pt").is_file():
        return None
    raise InputError(
        f"{folder} holds a run with {_difference(record, wanted, differing[0])}; choose another "
        '--output, give the method another name with "as", or remove the folder'
    )


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Keep the record, whole or not at all."""
    write_json(folder / FILE, record)


@lru_cache
def surroundings() -> dict[str, Any]:
    """Versions, and the commit of the code where it lies in a repository."""
    names = ("cggm", "torch", "monai", "numpy")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"versions": {"python": platform.python_version(), **versions}, "commit": _commit()}


def _commit() -> dict[str, Any] | None:
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), "--no-optional-locks", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"hash": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _difference(record: Mapping[str, Any], wanted: Mapping[str, Any], key: str) -> str:
    there, here = record.get(key), wanted[key]
    if isinstance(there, dict) and isinstance(here, dict):
        name = next(n for n in {**there, **here} if there.get(n, ...) != here.get(n, ...))
        there, here = (d.get(name, "the bundle's") for d in (there, here))
        key = name
    return f"other settings ({key} is {there} there, {here} here)"
