"""A table of cases: which file is which sequence, and who and when."""

from __future__ import annotations

import re
from pathlib import Path

from ....data.brats.cases import SEQUENCES, Case
from ....data.brats.layouts import Source
from ....data.errors import InputError
from ....data.tables import check_unique, read_rows

_USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def cases_of_table(path: Path) -> tuple[list[Case], dict[str, str], dict[str, dict[str, str]]]:
    """Read a CSV with a row for each case.

    Columns are ``case``, any of ``flair``, ``t1``, ``t1ce`` and ``t2`` (files, relative to the
    table; empty where there is none), and if wanted ``subject`` and ``date``.

    Returns:
        The cases in the order of the table, the reason for each that cannot be begun, and the rows
        by case.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path} is a file; expected a folder of cases, or a table in .csv")
    rows = read_rows(path, ["case"])
    if rows and not set(rows[0]) & set(SEQUENCES):
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
        if not _USABLE.fullmatch(name):
            problems[name] = (
                f"{name!r} in {path} is no usable ID; expected up to 128 letters A-Z, digits, "
                "dots, dashes or underscores"
            )
        elif not images:
            problems[name] = f"case {name}: no file in {path}"
        else:
            cases.append(Case(name, images, None, None, "brats2018"))
    return cases, problems, {row["case"]: row for row in rows}
