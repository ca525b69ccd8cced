"""Files and folders that are there whole or not at all, and the digest of a file.

All of the project writes through this module. A process that is killed, a full disk or a loss of
power at any moment leaves the old content or the new one, never a part of it.

=====================================  ==========================================================
``whole_file(path)``                   context manager: a path beside ``path`` to write to, with
                                       any library; takes the place of ``path`` at the end
``whole_folder(path, replace=...)``    context manager: an empty folder beside ``path`` to fill
``write_atomically(path, write)``      ``write`` gets the opened binary file
``write_text``, ``write_json``         a text in UTF-8, plain values
``write_csv(path, rows, columns=...)`` a table
``remove_leftovers(path)``             what killed processes left beside ``path``; the writers
                                       above do this themselves, each for its own path
``read_json(path)``                    plain values; what is nested too deep is no JSON either
``digest_of(path, ...)``               SHA-256 in hexadecimal
``fingerprint(path)``                  what tells a file again, see ``is_same_file``
=====================================  ==========================================================

What is being written is called ``.<name>.<host>.<count>.<process>.tmp``. What the system
refuses becomes an :class:`.InputError` that names ``path``; other errors pass unchanged. Locks are
in :mod:`.locks`, checks for Git LFS pointers and web pages in :mod:`.foreign`.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import itertools
import json
import os
import platform
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError

# Processes of other hosts may write to the same shared folder; only ours can be asked for.
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_count = itertools.count()


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file beside `path` that takes its place when the block ends without an error.

    Folders above it are made.

    Yields:
        The path to write to; there is no such file yet.

    Raises:
        InputError: the system refuses; the old file is still there.
    """
    path = Path(path).absolute()
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        yield temporary
        _sync_file(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error, kept=path.is_file()) from error
    finally:
        _remove(temporary)


@contextmanager
def whole_folder(
    path: str | Path,
    *,
    replace: Callable[[Path], bool] | None = None,
    durable: bool = True,
) -> Iterator[Path]:
    """Fill a folder beside `path` that takes its place when the block ends without an error.

    Folders above it are made. Several processes may make the same folder at the same time.

    Args:
        path: the folder; may be there if it is empty.
        replace: asked at the end, with `path`, when it has content meanwhile: True replaces it,
            False keeps it and drops the new one. It may raise an error of its own. Without it,
            content is refused.
        durable: survive a loss of power too, which takes milliseconds for each file; False for
            thousands of small files that can be made again.

    Yields:
        The folder to write to, empty.

    Raises:
        InputError: the system refuses, or `path` has content; what is there stays.
    """
    path = Path(path).absolute()
    temporary = _beside(path)
    try:
        remove_leftovers(path)
        temporary.mkdir(parents=True)
        yield temporary
        if durable:
            _sync_content(temporary)
        _put(temporary, path, replace or _refuse_content)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error, kept=False) from error
    finally:
        _remove(temporary)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a binary file that takes the place of `path`, see :func:`whole_file`."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        write(file)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; what UTF-8 does not have as an escape.

    Names of files may hold such bytes.
    """
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: str | Path, content: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read plain values from a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else than JSON in UTF-8, or is nested too deep.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def write_csv(
    path: str | Path,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
) -> None:
    """Write rows as a table, whole or not at all.

    Values are written as they are, also those that a spreadsheet would take for a formula: a
    changed id could not be joined with other tables.

    Args:
        path: the file.
        rows: values by column; a row may lack columns that others have.
        columns: those to write, in this order; None writes all, in the order of their first use.
    """
    rows = list(rows)
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    text = _Lines(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def remove_leftovers(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it.

    Files and folders of running processes and of other hosts stay, as do names of another form.
    """
    path = Path(path)
    form = re.compile(rf"\.{re.escape(path.name)}\.(?:([0-9a-f]{{8}})\.\d+\.)?(\d+)\.tmp")
    with suppress(OSError):  # there may be no such folder yet
        for name in os.listdir(path.parent):
            match = form.fullmatch(name)
            if match and match[1] in (None, _HOST) and not _is_running(int(match[2])):
                _remove(path.with_name(name))


def digest_of(*paths: str | Path) -> str:
    """SHA-256 of a file in hexadecimal, or of the contents of several, one after the other.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def fingerprint(path: str | Path) -> dict[str, Any]:
    """What a record says of a file it was made from, so that :func:`is_same_file` tells it again.

    The name is that of the file alone: a folder may be named after a patient.
    """
    path = Path(path)
    status = path.stat()
    return {
        "file": path.name,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": digest_of(path),
    }


def is_same_file(about: Mapping[str, Any], path: str | Path) -> bool:
    """Whether a file is the one of a fingerprint: by its size and time, or else by its digest."""
    status = Path(path).stat()
    if status.st_size != about["bytes"]:
        return False
    return status.st_mtime_ns == about["mtime_ns"] or digest_of(path) == about["sha256"]


class _Lines(io.StringIO):
    """Rows of a table that end in a line feed alone, though cells with either end are quoted."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_HOST}.{next(_count)}.{os.getpid()}.tmp")


def _put(temporary: Path, path: Path, replace: Callable[[Path], bool]) -> None:
    """Rename a folder to its place; one that is there makes way if `replace` says so."""
    for _ in range(10):
        try:
            if os.name != "posix" and path.is_dir() and not any(path.iterdir()):
                path.rmdir()  # not every system replaces an empty folder
            os.replace(temporary, path)
            return
        except OSError as error:
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST) or os.name != "posix"
            if not taken or path.is_file():
                raise
        if path.is_dir():
            if not replace(path):
                return
            # A folder cannot replace a full one; whoever moves it away makes room for all.
            old = _beside(path)
            with suppress(FileNotFoundError):
                os.replace(path, old)
            _remove(old)
    raise OSError(errno.EBUSY, "other processes keep replacing it")


def _refuse_content(path: Path) -> bool:
    raise InputError(f"{path} is not empty; choose another output folder, or remove it first")


def _refused(path: Path, error: OSError, kept: bool) -> InputError:
    reason = error.strerror or str(error).partition("\n")[0]
    old = "; the previous file is kept" if kept else ""
    return InputError(
        f"{path} cannot be written ({reason}){old}: choose another output folder, or make room and "
        "give yourself the right to write there"
    )


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # to ask would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    with suppress(OSError):  # Linux alone tells whether it has ended and nobody has asked for it
        status = Path("/proc", str(process), "stat").read_text(errors="replace")
        return status.rpartition(")")[2].split()[0] != "Z"
    return True


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _sync_content(folder: Path) -> None:
    for inner, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_file(Path(inner, name))
        _sync_folder(Path(inner))


def _sync_file(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make new names survive a loss of power, where the system has folders to open."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
