"""How does a fresh process become ``python -m MODULE …`` whose output goes to files?"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Order:
    """What a process is to become.

    Attributes:
        words: a module that has a ``__main__``, and its arguments.
        log: standard output goes to `log`.out, standard error to `log`.err.
        environment: all environment variables.
        threads: of torch and of all that reads OMP_NUM_THREADS; None leaves them alone.
    """

    words: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    threads: int | None = None


def become(order: Order) -> None:
    """Do what ``python -m`` does, in a process group of its own that ends with its parent."""
    if hasattr(os, "setsid"):
        # Ctrl-C reaches the parent alone, and workers and teachers die with their group.
        os.setsid()
    after_parent(_end_group)
    # The process that forks us may ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order.environment)
    if order.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(order.threads)
        torch.set_num_threads(order.threads)
    for stream, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{order.log}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    # MONAI warns of configurations from strangers; those of a run are this package's own.
    warnings.filterwarnings("ignore", "parsing config_file ", UserWarning)
    _run(order.words)


def _run(words: Sequence[str]) -> None:
    sys.argv = ["", *words[1:]]
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException as error:
        # multiprocessing would print a traceback, where the program has a hook of its own.
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def after_parent(end: Callable[[], None]) -> None:
    """Call `end` as soon as the parent process has ended, however it did; do not wait for it."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            end()

    threading.Thread(target=wait, daemon=True).start()


def _end_group() -> None:
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
