"""The folder for what can be made again, and turns for those who fill it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .locks import lock_and_wait


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
    remedy = "pass another one with --cache_dir, or set the environment variable CGGM_CACHE"
    with lock_and_wait(cache / "lock", what="the cache folder", remedy=remedy):
        yield cache
