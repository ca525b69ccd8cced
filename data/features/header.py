"""The header of a feature set, dataset.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, some
from ..files import read_json, write_json

FORMAT = "cggm feature set 1"
HEADER = "dataset.json"
TASKS = ("classification", "regression")


def write_feature_set_header(
    folder: str | Path,
    *,
    name: str,
    task: str,
    classes: Sequence[str] | None = None,
    generated: bool = False,
    source: str = "",
    terms: str = "",
    description: str = "",
    modalities: Sequence[str] | None = None,
) -> Path:
    """Write dataset.json.

    Args:
        folder: of the feature set; made if missing.
        name: of the data, as it stands in logs and reports.
        task: "classification" or "regression".
        classes: names in the order of the class numbers, for classification only.
        generated: the features are made up.
        source: one sentence on where they are from.
        terms: one sentence on what may be done with them.
        description: anything else.
        modalities: their order; without it the files count in the order of the alphabet.

    Returns:
        The file.

    Raises:
        InputError: the task or the classes are wrong, or the file cannot be written.
    """
    header: dict[str, Any] = {"format": FORMAT, "name": name, "task": task}
    if classes is not None:
        header["classes"] = list(classes)
    header |= {"generated": generated, "source": source, "terms": terms, "description": description}
    if modalities is not None:
        header["modalities"] = list(modalities)
    path = Path(folder) / HEADER
    _check_header(header, path)
    write_json(path, header)
    return path


def read_header(folder: str | Path, *, task: str | None = None) -> dict[str, Any]:
    """Read dataset.json.

    Args:
        folder: of the feature set.
        task: what the features are wanted for; None takes both.

    Raises:
        InputError: the folder or the file is missing or cannot be used, or is for another task.
    """
    path = Path(folder) / HEADER
    if not path.parent.is_dir():
        raise InputError(f"the folder {folder} does not exist; give the folder of a feature set")
    try:
        header = read_json(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is no feature set: it has no {HEADER}; convert or extract your data into "
            "one, see the README of the bundle"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); write it again") from error
    _check_header(header, path)
    if task is not None and header["task"] != task:
        raise InputError(
            f"{path} is for {header['task']}, but {task} is asked for; give a feature set for "
            f"{task}, or use a bundle for {header['task']}"
        )
    return header


def check_modality(name: str, where: object) -> None:
    """Refuse a name that cannot be that of a file and of a part of a network.

    Raises:
        InputError: names it and `where` it stands.
    """
    from torch import nn

    # A network keeps its encoders in such a table, which has methods of some names.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or hasattr(nn.ModuleDict, name):
        raise InputError(
            f"{where}: a modality cannot be called {name[:80]!r}; its name is made of letters, "
            "digits, _ and -, and not that of a method of torch such as 'values' or 'type'"
        )


def _check_header(header: Any, path: Path) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        raise InputError(
            f'{path} is no header of a feature set: its format is {found!r}, expected "{FORMAT}"'
        )
    if header.get("task") not in TASKS:
        raise InputError(
            f"{path}: the task is {header.get('task')!r}; expected one of {', '.join(TASKS)}"
        )
    for key in ("classes", "modalities"):
        if key in header or (key == "classes" and header["task"] == "classification"):
            _check_names(header.get(key), key, path)
    if header["task"] == "regression" and header.get("classes") is not None:
        raise InputError(f"{path}: regression has no classes; leave them out, or mend the task")
    if header["task"] == "classification" and len(header["classes"]) < 2:
        raise InputError(f"{path}: there is only the class {header['classes'][0]}; expected 2")
    header.setdefault("name", path.parent.name)
    if not isinstance(header["name"], str):
        raise InputError(f'{path}: "name" is {header["name"]!r}; expected a text')
    header.setdefault("generated", False)


def _check_names(names: Any, key: str, path: Path) -> None:
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(f'{path}: "{key}" is {names!r}; expected a list of names')
    twice = [name for name, count in Counter(names).items() if count > 1 or not name.strip()]
    if twice:
        raise InputError(f'{path}: "{key}" has empty or doubled names: {some(twice)}')
