"""Where is what can be made again kept, and who may fill it?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from .errors import InputError


def default_cache() -> Path:
    """Folder for what can be made again: ``CGGM_CACHE``, or ``cggm`` in the user's cache."""
    if os.environ.get("CGGM_CACHE"):
        return Path(os.environ["CGGM_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cggm"


@contextmanager
def one_at_a_time(cache_dir: str | Path | None) -> Iterator[Path]:
    """Let one process fill the cache while others, such as the ranks of one run, wait for it.

    Args:
        cache_dir: the cache, :func:`default_cache` when not given; made if missing.

    Yields:
        The folder of the cache.

    Raises:
        InputError: the folder cannot be written.
    """
    cache = default_cache() if cache_dir is None else Path(cache_dir)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / "lock").acquire()
    except OSError as error:
        raise InputError(
            f"the cache folder {cache} cannot be written ({error.strerror}): pass another one "
            "with --cache_dir, or set the environment variable CGGM_CACHE"
        ) from error
    with lock:
        yield cache
