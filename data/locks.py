"""Locks between processes: refuse, wait, or hold for good. They end with their process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from .errors import InputError

REMEDY = "choose another folder, or give yourself the right to write there"

_held: dict[Path, BaseFileLock] = {}


class InUse(InputError):
    """Another process holds a lock."""


@contextmanager
def lock_or_refuse(
    file: str | Path, refusal: str, *, what: str = "the folder", remedy: str = REMEDY
) -> Iterator[None]:
    """Keep other processes out of the block; refuse if one is in it.

    The file of the lock stays behind; whether it is locked, only the system knows.

    Args:
        file: of the lock; its folder is made if missing.
        refusal: the sentence for the user when another process holds the lock: who is at work
            where, and what to do.
        what: the folder of the lock is to the user.
        remedy: what to do when it cannot be written.

    Raises:
        InUse: another process holds the lock.
        InputError: its file cannot be written.
    """
    lock = _acquired(Path(file), refusal, what, remedy)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock_and_wait(
    file: str | Path, *, what: str = "the folder", remedy: str = REMEDY
) -> Iterator[None]:
    """Let one process at a time into the block; others wait. See :func:`lock_or_refuse`."""
    lock = _acquired(Path(file), None, what, remedy)
    try:
        yield
    finally:
        lock.release()


def lock_for_good(
    file: str | Path, refusal: str, *, what: str = "the folder", remedy: str = REMEDY
) -> None:
    """Hold a lock as long as this process lives, however it ends; asked again, do nothing.

    Arguments and errors are those of :func:`lock_or_refuse`.
    """
    file = Path(file).resolve()
    if file not in _held:
        _held[file] = _acquired(file, refusal, what, remedy)


def _acquired(file: Path, refusal: str | None, what: str, remedy: str) -> BaseFileLock:
    """Acquire a lock, waiting for it where there is no refusal."""
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=refusal is None)
    except Timeout as error:
        raise InUse(refusal) from error
    # Not every file system of a network has locks.
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} {file.parent} cannot be written ({reason}): {remedy}") from error
    return lock
