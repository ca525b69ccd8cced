"""Largest resident memory of trainings, each in a process that does nothing else. Linux only."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .training_steps import Steps, method_for

STEPS = 4


class Training(NamedTuple):
    """A training whose memory is measured.

    Attributes:
        bundle: whose kind of network is trained.
        method: its name.
        classifiers: whether the bundle's classifiers are built.
        folder: of teachers.
    """

    bundle: str
    method: str
    classifiers: bool
    folder: str


def peaks(trainings: Sequence[Training]) -> list[float]:
    """Largest resident memory of each in MB."""
    # Freed blocks go back to the system at once instead of into the allocator's reserves.
    quiet = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(trainings)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | quiet,
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak_here(training: Training) -> float:
    """Largest resident memory of this process in MB while it trains."""
    method = method_for(training.method, training.bundle, Path(training.folder))
    steps = Steps(training.bundle, method, classifiers=training.classifiers)
    Path("/proc/self/clear_refs").write_text("5")  # forget what was before
    for _ in range(STEPS):
        steps.step()
    steps.end()
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    # Each training is forked from this process, which has only imported.
    questions = [Training(*words) for words in json.loads(sys.argv[1])]
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(pool.map(peak_here, questions, chunksize=1)))
