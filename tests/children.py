"""A process of its own for part of a test."""

import os
import traceback
from collections.abc import Callable


def in_a_child(action: Callable[[], None]) -> int:
    """Run in a forked process, which needs no second to import torch, and give its number."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child
