"""How is a file written so that it is there whole or not at all?"""

from __future__ import annotations

import contextlib
import csv
import glob
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in the place of `path`.

    Folders above it are made. After a crash at any moment `path` is the old file or the new one.

    Raises:
        InputError: the system refuses; the old file is still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        kept = "; the previous file is kept" if path.is_file() else ""
        raise InputError(
            f"{path} cannot be written ({error.strerror}){kept}: choose another output folder, or "
            "make room and give yourself the right to write there"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def remove_leftovers(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it.

    Those are files and folders called ``.<name>.<process>.tmp`` of processes that are gone.
    """
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = left.name.split(".")[-2]
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True)
            _remove(left)


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # to ask would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: str | Path, content: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a table, whole or not at all.

    A row may lack columns that others have. Values are written as they are, also those that a
    spreadsheet would take for a formula: a changed id could not be joined with other tables.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # below a path that is no folder there is nothing
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a loss of power, where the system has folders to open."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
