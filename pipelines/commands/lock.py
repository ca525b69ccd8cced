"""Does another training already write into this output folder?"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from ...data.errors import InputError

LOCK = ".training.lock"

_held: dict[Path, FileLock] = {}


def keep_others_out(folder: str | Path) -> None:
    """Refuse other trainings in a folder for as long as this process lives, however it ends.

    The file of the lock stays behind; whether it is locked, only the system knows.

    Args:
        folder: the output folder of a training; it exists.

    Raises:
        InputError: another process trains into it.
    """
    folder = Path(folder).resolve()
    if folder in _held:
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"another training writes into {folder}: wait until it has ended, or pass another "
            "--output_dir"
        ) from error
    except OSError as error:
        raise InputError(
            f"the output folder {folder} cannot be locked ({error.strerror}); pass another one "
            "with --output_dir"
        ) from error
    _held[folder] = lock
