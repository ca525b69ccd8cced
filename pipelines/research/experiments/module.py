"""One ``python -m MODULE …`` in this process, with its output in files."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path


def run_module(words: Sequence[str], log: Path) -> int:
    """Do what ``python -m`` does; the process belongs to the module from then on.

    Args:
        words: the module and its arguments.
        log: standard output goes to `log`.out, standard error to `log`.err.

    Returns:
        The exit code.

    Raises:
        KeyboardInterrupt: somebody wants it to end.
    """
    # MONAI warns of configurations from strangers; those of a run are this package's own.
    warnings.filterwarnings("ignore", "parsing config_file ", UserWarning)
    sys.argv = ["", *words[1:]]
    with _output_to(log):
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return _code(end)
        except Exception as error:
            # A bundle replaces the hook, to say in a sentence what was wrong.
            sys.excepthook(type(error), error, error.__traceback__)
            return 1
    return 0


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send the output of this process and of those it starts to files."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = {stream: os.dup(stream) for stream in (1, 2)}
    try:
        for stream, ending in ((1, "out"), (2, "err")):
            with open(f"{log}.{ending}", "wb") as file:
                os.dup2(file.fileno(), stream)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in before.items():
            os.dup2(copy, stream)
            os.close(copy)
