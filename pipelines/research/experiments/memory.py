"""How much memory do groups of processes hold, and how much is free?"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path

GIGABYTE = 1024**3
_PROC = Path("/proc")
_CONTROL = Path("/sys/fs/cgroup")  # of a container


def free_memory() -> float | None:
    """Gigabytes that this machine or container can give now; None where that is unknown."""
    try:
        text = (_PROC / "meminfo").read_text()
    except OSError:
        return None
    free = int(re.findall(r"MemAvailable:\s+(\d+) kB", text)[0]) * 1024
    with contextlib.suppress(OSError, ValueError, IndexError):  # no container, or "max": no limit
        limit = int((_CONTROL / "memory.max").read_text())
        held = int((_CONTROL / "memory.current").read_text())
        cached = re.findall(r"inactive_file (\d+)", (_CONTROL / "memory.stat").read_text())
        free = min(free, limit - held + int(cached[0]))
    return free / GIGABYTE


def memory_of(groups: Collection[int]) -> dict[int, float] | None:
    """Gigabytes that each process group holds; None where that is unknown.

    Pages that processes share, as after a fork, are divided between them.
    """
    if not (_PROC / "self" / "smaps_rollup").is_file():
        return None
    found = dict.fromkeys(groups, 0.0)
    for name in os.listdir(_PROC):
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            if name.isdigit() and (group := os.getpgid(int(name))) in found:
                text = (_PROC / name / "smaps_rollup").read_text()
                found[group] += int(re.findall(r"^Pss:\s+(\d+)", text, re.M)[0]) * 1024 / GIGABYTE
    return found
