"""A smart watch during shoulder exercises, by its two sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ....data.errors import InputError
from ....data.published.pickled_arrays import read_arrays
from .packages import WATCH, Files
from .stand_in import StandIn, need

NAME = "Shoulder exercises, smart watch"
_FILE = "watch_dataset.npy"
FILES = {WATCH: Files("seglearn/data/", (_FILE,))}
STEPS = 200
HOP = 100
# Two readings become one: half as many steps for the transformers, and still 25 per second.
MEAN_OF = 2
SENSORS = {"accelerometer": ["ax", "ay", "az"], "gyroscope": ["wx", "wy", "wz"]}


def read(watch: Path, root: Path) -> StandIn:
    """Cut the 140 recordings into windows of 200 steps, 100 apart.

    A group is a person, so nobody is in two parts.

    Args:
        watch: the unpacked package.
        root: not used, there are no files per sample.
    """
    data = read_object_array(watch / _FILE)
    columns = [name for names in SENSORS.values() for name in names]
    fits = isinstance(data, dict) and list(data.get("X_labels", ())) == columns
    need(fits, WATCH, f"recordings with the columns {', '.join(columns)}")
    rows: list[dict[str, str]] = []
    vectors: dict[str, dict[str, np.ndarray]] = {name: {} for name in SENSORS}
    for number, recording in enumerate(data["X"]):
        for start in range(0, len(recording) - STEPS + 1, HOP):
            name = f"recording{number:03d}-{start:05d}"
            label = str(data["y_labels"][int(data["y"][number])])
            rows.append(
                {"id": name, "label": label, "group": f"person{int(data['subject'][number])}"}
            )
            window = np.asarray(recording[start : start + STEPS], dtype=np.float32)
            window = window.reshape(STEPS // MEAN_OF, MEAN_OF, -1).mean(axis=1)
            vectors["accelerometer"][name] = window[:, :3]
            vectors["gyroscope"][name] = window[:, 3:]
    return StandIn(
        name=NAME,
        task="classification",
        packages=list(FILES),
        description=(
            f"A window of {STEPS} readings of a smart watch, {HOP} apart, pairs of readings "
            "averaged: accelerometer and gyroscope; the label is the exercise, the group the "
            "person."
        ),
        rows=rows,
        vectors=vectors,
    )


def read_object_array(file: Path) -> Any:
    """Read what an array file without dimensions holds, a pickle, as arrays and plain values only.

    Raises:
        InputError: it is no such file, damaged, or holds anything else, which is not run.
    """
    try:
        with open(file, "rb") as content:
            version = np.lib.format.read_magic(content)
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            offset = content.tell()
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); delete it and fetch it again") from error
    if version != (1, 0) or shape != () or not dtype.hasobject:
        raise InputError(f"{file} holds another array than expected; fetch it again")
    return read_arrays(file, offset=offset).item()
