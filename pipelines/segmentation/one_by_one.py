"""Cases taken one by one by any number of processes: locks, reasons, the table of what failed."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from ...data.errors import InputError
from ...data.files import read_json, write_csv
from ...data.locks import lock_and_wait, lock_or_refuse

FAILED = "failed.csv"
BUSY = "left to another process, which has it in hand"
LOCKS = ".locks"


def case_lock(output: Path, case: str) -> AbstractContextManager[None]:
    """Keep other processes from a case; raises :class:`.InUse` where one has it in hand."""
    return lock_or_refuse(output / LOCKS / f"{case}.lock", BUSY)


def tables_lock(output: Path) -> AbstractContextManager[None]:
    """Let one process at a time write the tables of an output folder."""
    return lock_and_wait(output / LOCKS / "tables.lock")


def reason_of_failure(error: Exception) -> str:
    """Say why a case failed, in a line for a table; a fault of the program by its kind, too."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def is_replaceable(target: Path, what: str, form: object) -> bool:
    """Whether the folder of a case may be replaced: an earlier result, never anything else.

    Args:
        target: the folder.
        what: an earlier result is, for the message.
        form: the entry "format" of its record, ``<case>.json``.

    Raises:
        InputError: it holds something else.
    """
    if target.is_dir() and any(target.iterdir()) and _form_of(target) != form:
        raise InputError(
            f"{target} holds files and is no {what}; choose another output folder, not the one "
            "with the data"
        )
    return True


def _form_of(target: Path) -> object:
    """The entry "format" of the record in a folder; None where there is none."""
    try:
        record = read_json(target / f"{target.name}.json")
    except (OSError, ValueError):
        return None
    return record.get("format") if isinstance(record, dict) else None


def read_failed(output: Path) -> dict[str, dict[str, str]]:
    """Read the rows of cases that failed before, by case."""
    try:
        with open(output / FAILED, newline="", encoding="utf-8") as file:
            return {row["case"]: row for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error):  # what a spreadsheet has made of it
        return {}


def update_failed(
    output: Path, failed: Mapping[str, Mapping[str, str]], unsettled: Collection[str]
) -> None:
    """Write the rows of cases that failed, now or before; none at all leaves no table.

    To be called within :func:`tables_lock`.

    Args:
        output: the folder.
        failed: rows of those that failed now, by case.
        unsettled: names that may have failed in another process, or before and not yet again.
    """
    before = {name: row for name, row in read_failed(output).items() if name in unsettled}
    rows = dict(sorted({**before, **failed}.items()))
    if rows:
        write_csv(output / FAILED, rows.values())
    else:
        (output / FAILED).unlink(missing_ok=True)
