"""Worker processes: how many, and that they end with their parent."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """Let a worker end when the program that started it was killed, instead of waiting forever.

    The initializer of a pool of processes.
    """
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
