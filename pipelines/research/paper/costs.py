"""Time and memory of methods' training steps beside joint training, as a CSV file.

Each bundle has its kind of network, of one size, on one batch of random data. Time: steps of all
methods are interleaved in one process, so that whatever else the machine does hits all alike, and
each is divided by the step of joint training WITHOUT classifiers that came before it. Memory: the
largest resident size of a process that does nothing else. Columns:

    method, bundle
    step_ms_ratio   median of the ratios of a step's time, classifiers trained where a method
                    needs them
    step_ms_low     its 95 % interval, by the ranks of the ratios
    step_ms_high
    peak_mb         largest resident memory, with classifiers
    peak_mb_without_classifiers     empty where the method needs them, or has none
    epoch_steps     what is done when an epoch begins (trials, prototypes, diagnoses), the longest,
                    in steps of joint training on one batch as a whole data set; UMT's teachers,
                    a unimodal training, are beside it
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....data.files import write_csv
from .peak_memory import Training, peaks
from .training_steps import Steps, can_go_without, covers, method_for

WARM_UP = 2  # steps that set memory aside


def measure(path: Path, bundles: Sequence[str], methods: Sequence[str], steps: int) -> None:
    """Write a row for each bundle and each method that covers it.

    Args:
        path: the CSV file.
        bundles: their names.
        methods: their names.
        steps: of each method whose time is taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for bundle in bundles for row in _rows(bundle, methods, steps, Path(folder))]
    write_csv(path, rows)


def _rows(
    bundle: str, methods: Sequence[str], steps: int, folder: Path
) -> Iterator[dict[str, object]]:
    names = [name for name in methods if covers(name, bundle)]
    both = [(name, True) for name in names]
    both += [(name, False) for name in names if can_go_without(name)]
    trainings = [Training(bundle, name, kept, str(folder)) for name, kept in both]
    memory = dict(zip(both, peaks(trainings), strict=True))
    for name, times in _times(bundle, names, steps, folder).items():
        epoch_steps = times.pop("epoch_steps")
        row = {
            "method": name,
            "bundle": bundle,
            **times,
            "peak_mb": memory[name, True],
            "peak_mb_without_classifiers": memory.get((name, False), ""),
            "epoch_steps": epoch_steps,
        }
        print(*row.values(), file=sys.stderr)
        yield row


def _times(
    bundle: str, names: Sequence[str], steps: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Columns of time by method."""
    base = Steps(bundle, None)
    trainings = {name: Steps(bundle, method_for(name, bundle, folder)) for name in names}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for number in range(steps + WARM_UP):
        for name, training in trainings.items():
            joint, own = base.step(), training.step()
            if number >= WARM_UP:
                ratios[name].append(own / joint)
    joint = statistics.median(base.seconds[WARM_UP:])
    columns = {}
    for name, training in trainings.items():
        low, high = _interval(ratios[name])
        columns[name] = {
            "step_ms_ratio": round(statistics.median(ratios[name]), 3),
            "step_ms_low": round(low, 3),
            "step_ms_high": round(high, 3),
            "epoch_steps": round(max(training.epoch_seconds) / joint, 1),
        }
    for training in (base, *trainings.values()):
        training.end()
    return columns


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median by ranks."""
    ordered, count = sorted(ratios), len(ratios)
    rank = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
    return ordered[rank], ordered[count - 1 - rank]
