"""Processes of their own for parts of a test, and whether they have ended."""

import contextlib
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def in_a_child(action: Callable[[], None]) -> int:
    """Run in a forked process, which needs no second to import torch, and give its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only waiting for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_after(seconds: float, pids: list[int]) -> list[int]:
    """Processes that are still there when the time is up; returns at once when none is."""
    deadline = time.monotonic() + seconds
    while (alive := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parts[2]))
    children = parents.get(pid, [])
    return [*children, *(below for child in children for below in descendants(child))]
