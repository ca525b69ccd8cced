"""A table or a MONAI datalist of cases: which file is which sequence, and who and when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ....data.brats.cases import SEQUENCES, Case
from ....data.brats.layouts import SEQUENCE_NAMES, Source
from ....data.errors import InputError
from ....data.files import read_json
from ....data.tables import check_unique, read_rows

USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ENDING = re.compile(r"(?i:\.nii(\.gz)?)$")
_SUBJECTS = ("case", "id", "name", "subject_id", "case_id")  # what datalists call a case


def cases_of_table(path: Path) -> tuple[list[Case], dict[str, str], dict[str, dict[str, str]]]:
    """Read a CSV with a row for each case, or a datalist of MONAI.

    Columns of a CSV are ``case``, any of ``flair``, ``t1``, ``t1ce`` and ``t2`` (files, relative to
    the table; empty where there is none), and if wanted ``subject`` and ``date``. A datalist is a
    JSON file with a list of entries, or several under names such as ``testing``. An entry has the
    files under the names of the sequences, or under ``image`` as a list of files whose names end
    with a sequence, such as ``P1_t1ce.nii.gz``.

    Returns:
        The cases in the order of the table, the reason for each that cannot be begun, and the rows
        by case.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    if path.suffix.lower() == ".json":
        rows = list(_rows_of_datalist(path))
    elif path.suffix.lower() == ".csv":
        rows = read_rows(path, ["case"])
    else:
        raise InputError(
            f"{path} is a file; expected a folder of cases, a table in .csv or a datalist in .json"
        )
    if not rows:
        raise InputError(f"{path} has no row below its header; expected one for each case")
    if not {key for row in rows for key in row} & set(SEQUENCES):
        raise InputError(
            f"{path} has the columns {', '.join(rows[0])}; expected one or more of "
            f"{', '.join(SEQUENCES)} with the files"
        )
    check_unique([row["case"] for row in rows], path, "give each case a name of its own")
    cases, problems = [], {}
    for row in rows:
        name = row["case"]
        images = {
            key: Source(path.parent / row[key].strip())
            for key in SEQUENCES
            if row.get(key, "").strip()
        }
        if not USABLE.fullmatch(name):
            problems[name] = (
                f"{name!r} in {path} is no usable ID; expected up to 128 letters A-Z, digits, "
                "dots, dashes or underscores"
            )
        elif not images:
            problems[name] = f"case {name}: no file in {path}"
        else:
            cases.append(Case(name, images, None, None, "brats2018"))
    return cases, problems, {row["case"]: row for row in rows}


def _rows_of_datalist(path: Path) -> Iterator[dict[str, str]]:
    """Give the entries of a datalist as rows of a table."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a datalist in JSON") from error
    lists = [content] if isinstance(content, list) else []
    if isinstance(content, dict):
        lists = [part for part in content.values() if isinstance(part, list)]
    entries = [entry for part in lists for entry in part if isinstance(entry, dict)]
    if not entries:
        raise InputError(
            f'{path} holds no list of cases; expected {{"testing": [{{"image": [files]}}, ...]}}'
        )
    for number, entry in enumerate(entries, 1):
        try:
            yield _row_of_entry(entry)
        except InputError as error:
            raise InputError(f"entry {number} of {path}: {error}") from error


def _row_of_entry(entry: Mapping[str, Any]) -> dict[str, str]:
    files = {
        SEQUENCE_NAMES[key.lower()]: value
        for key, value in entry.items()
        if key.lower() in SEQUENCE_NAMES and isinstance(value, str)
    }
    images = entry.get("image") or []
    if not isinstance(images, str | list):
        raise InputError(f"image is {images!r}; expected a file, or a list of files")
    for file in [images] if isinstance(images, str) else images:
        end = re.split(r"[-_.]", _ENDING.sub("", Path(str(file)).name).lower())[-1]
        name = SEQUENCE_NAMES.get(end)
        if name is None or name in files:
            raise InputError(
                f"{file!r} does not tell its sequence, or another file has it; expected names "
                "that end with flair, t1, t1ce or t2, or the files under these names as keys"
            )
        files[name] = str(file)
    told = next((str(entry[key]) for key in _SUBJECTS if entry.get(key)), None)
    if told is None and not files:
        raise InputError("it has no files; expected image, or flair, t1, t1ce and t2")
    row = {key: str(entry[key]) for key in ("subject", "date") if entry.get(key)}
    return {"case": told or _common_name(list(files.values())), **row, **files}


def _common_name(files: list[str]) -> str:
    """What the names of a case's files begin with, or else their folder."""
    stems = {re.sub(r"[-_.]?[^-_.]*$", "", _ENDING.sub("", Path(file).name)) for file in files}
    folder = Path(files[0]).parent.name
    return next(iter(stems)) if len(stems) == 1 and "" not in stems else folder
