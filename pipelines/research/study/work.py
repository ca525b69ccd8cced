"""Trainings of the study, done by Ray: a line in the file of results for each that has ended."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from ....data.errors import InputError
from ....data.locks import lock_or_refuse
from ...methods import create
from ..experiments.cluster import connect
from ..experiments.machines import LOCAL
from .families import draw
from .plan import ALONE, FIELDS, SEARCH, Cell, Questions, Study, Training
from .training import EPOCHS, train

RESULTS = "results.jsonl"
TOGETHER = 12  # trainings of a task of Ray, at most; what a kill can lose
# Where a default is for longer trainings: as in the bundles, a diagnosis every quarter.
SETTINGS = {"relearning": {"every": min(EPOCHS.values()) // 4}}


def read(folder: Path) -> pd.DataFrame:
    """What was trained so far, a row per training; a line that a kill cut short is not counted.

    Raises:
        InputError: a line is no result.
    """
    path = folder / RESULTS
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    try:
        rows = [json.loads(line) for line in lines]
        frame = pd.DataFrame(rows, columns=None if rows else [*FIELDS, "val", "test"])
        frame[FIELDS]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} holds something else than results ({error}); move it") from error
    return frame


def run(asked: Questions, folder: Path, jobs: int, address: str = LOCAL) -> None:
    """Train all that is missing.

    Args:
        asked: the questions.
        folder: of the results.
        jobs: tasks side by side.
        address: of a cluster of Ray, or "local".

    Raises:
        InputError: another study runs there, Ray is missing, or the results cannot be read.
    """
    refusal = f"another study writes into {folder}: wait until it has ended, or pass --output"
    with lock_or_refuse(folder / ".lock", refusal):
        drop_cut_line(folder / RESULTS)
        if not Study(asked, read(folder)).left():
            return
        connect(address, jobs)
        import ray

        try:
            while left := Study(asked, read(folder)).left():
                _work(left, asked, folder / RESULTS)
        finally:
            ray.shutdown()


def _work(left: Sequence[Training], asked: Questions, path: Path) -> None:
    import ray
    from ray.exceptions import RayError

    task = ray.remote(num_cpus=1)(do)
    tasks = [task.remote(asked.cells[group[0].cell], group) for group in grouped(left)]
    with (
        open(path, "a", encoding="utf-8") as file,
        tqdm(total=len(left), unit="training", disable=None) as bar,
    ):
        while tasks:
            (ended, *_), tasks = ray.wait(tasks)
            try:
                lines = ray.get(ended)
            except RayError as error:
                raise InputError(
                    f"trainings were lost ({str(error).splitlines()[0]}): as a rule memory had run "
                    "out; the same command goes on, perhaps with fewer --jobs"
                ) from error
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            bar.update(len(lines))


def grouped(trainings: Sequence[Training]) -> Iterator[tuple[Training, ...]]:
    """Trainings on the same draw of the same data, a few at a time."""
    by_draw: dict[tuple[int, str, str], list[Training]] = {}
    for one in trainings:
        by_draw.setdefault((one.draw, one.cell, one.purpose), []).append(one)
    for group in by_draw.values():
        for start in range(0, len(group), TOGETHER):
            yield tuple(group[start : start + TOGETHER])


def do(cell: Cell, trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """Train on one draw, and give a line for each training; the task of Ray."""
    torch.set_num_threads(1)  # two that share the cores would wait for each other at every step
    first = trainings[0]
    parts = draw(
        cell.family, cell.dial, cell.modalities, cell.task, first.seed, test=first.purpose != SEARCH
    )
    return [_trained(cell, training, parts) for training in trainings]


def _trained(cell: Cell, training: Training, parts: dict[str, Any]) -> dict[str, Any]:
    name = training.method
    if name.endswith(ALONE):
        modality = name.removesuffix(ALONE)
        parts, name = {key: part.of(modality) for key, part in parts.items()}, "joint"
    begun = time.monotonic()
    line: dict[str, Any] = asdict(training)
    try:
        outcome = train(
            parts,
            cell.task,
            create(name, SETTINGS),
            seed=training.seed,
            lr=training.rate,
            optimizer=cell.optimizer,
            dropout=training.dropout,
        )
    except (RuntimeError, ValueError, TypeError) as error:  # of one method; the others go on
        return line | {"val": math.nan, "test": math.nan, "failure": str(error)}
    return line | asdict(outcome) | {"seconds": round(time.monotonic() - begun, 3)}


def drop_cut_line(path: Path) -> None:
    """Take away a last line that a kill left unfinished: it would spoil the next one."""
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(path, "r+b") as file:
                file.truncate(whole)
