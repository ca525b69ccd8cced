"""Fixtures of the tests of methods and of the handler."""

import signal
import sys
from collections.abc import Iterator

import pytest

from .toy import ToyRun

# What a script starts in the background is deaf to Ctrl-C, and so would be the commands that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def toy_run() -> type[ToyRun]:
    """A small network in MONAI's own trainer: `toy_run(method, ...)`."""
    return ToyRun


@pytest.fixture(autouse=True)
def _restore_process() -> Iterator[None]:
    """Commands replace the hook for exceptions and what a signal does."""
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)
