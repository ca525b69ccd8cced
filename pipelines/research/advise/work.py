"""Trainings of an advice that are still to be done, within a budget, and rows of those done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ....data.errors import InputError
from .load import load
from .plan import RATE, SEARCH, Do, Job, Row, Variant, all_jobs, row_of, search_jobs, trained
from .samples import Samples

FILE = "trainings.jsonl"


class Rows:
    """The file of results: a line that says of which data, then one per training.

    Args:
        path: of the file; made with its folder when there is none.
        about: data and settings; rows of others are refused.

    Raises:
        InputError: the file is of other data or settings, or none of ours.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[Row] = []
        about = json.loads(json.dumps(about))
        if path.is_file() and path.stat().st_size:
            self._read(about)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n")

    def _read(self, about: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a line that a kill cut short is not counted
        try:
            first, *lines = (json.loads(line) for line in whole.splitlines())
            self.rows = [Row(**line) for line in lines]
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path} is damaged ({error}); remove it") from error
        if first != about:
            differing = [key for key in about if first.get(key) != about[key]]
            raise InputError(
                f"{self.path} is of other {' and '.join(differing) or 'settings'}; choose another "
                "--output, or remove the file"
            )
        if len(whole) < len(content):
            with open(self.path, "r+b") as file:
                file.truncate(len(whole))

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        with open(self.path, "a") as file:
            file.write(json.dumps(row.as_dict()) + "\n")

    def left(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that are not done."""
        done = {row.key for row in self.rows}
        return [job for job in jobs if job.key not in done]


Run = Callable[[Sequence[Job], float], Iterator[Row]]


def work(
    variants: Sequence[Variant], rows: Rows, divisions: int, run: Run, seconds: float
) -> list[Job]:
    """Search the learning rates, then train division by division, as long as there is time.

    Args:
        variants: what to train; the same order in every division.
        rows: of earlier calls; what is trained is added.
        divisions: most.
        run: does jobs until a time of ``time.monotonic``, and gives their rows as they come.
        seconds: from now on; no training is begun later.

    Returns:
        What is left to do.
    """
    until = time.monotonic() + seconds
    search = search_jobs(variants)
    whole = divisions * len(variants)
    again = len(SEARCH) * sum(variant.kind != RATE for variant in variants)
    total = len(search) + whole - again
    bar = tqdm(total=total, initial=min(total, len(rows.rows)), unit="training", disable=None)
    with bar:
        for row in run(rows.left(search), until):
            rows.add(row)
            bar.update()
        if left := rows.left(search):
            return left
        jobs = list(all_jobs(variants, rows.rows, divisions))
        for row in run(rows.left(jobs), until):
            rows.add(row)
            bar.update()
    return rows.left(jobs)


def here(do: Do) -> Run:
    """Do jobs one after the other in this process."""

    def run(jobs: Sequence[Job], until: float) -> Iterator[Row]:
        for job in jobs:
            if time.monotonic() > until:
                return
            yield do(job)

    return run


def on_ray(do: Do, count: int, address: str) -> Run:
    """Do jobs on Ray, at most ``count`` at once; ``do`` is pickled."""

    def run(jobs: Sequence[Job], until: float) -> Iterator[Row]:
        if not jobs:
            return
        import ray

        from ..experiments.cluster import connect  # with the bundles, which take seconds

        if not ray.is_initialized():
            connect(address, count)
        task = ray.remote(num_cpus=1)(_done)
        waiting, live = iter(jobs), []
        while True:
            while len(live) < count and time.monotonic() < until:
                job = next(waiting, None)
                if job is None:
                    break
                live.append(task.remote(do, job))
            if not live:
                return
            done, live = ray.wait(live)
            yield from ray.get(done)

    return run


def _done(do: Do, job: Job) -> Row:
    return do(job)


def worker(folder: Path, epochs: int, **options: Any) -> Do:
    """What trains the samples of a folder, on whatever machine sees it.

    Args:
        folder: as :func:`.load` takes it.
        epochs: of each training.
        **options: of :func:`.load`, hashable.
    """
    return partial(_trained, folder.resolve(), tuple(options.items()), epochs)


def _trained(folder: Path, options: tuple[tuple[str, Any], ...], epochs: int, job: Job) -> Row:
    torch.set_num_threads(1)  # small networks: threads would wait for each other
    samples = _loaded(folder, options)
    began = time.perf_counter()
    outcome = trained(samples, job, samples.parts(job.division), epochs)
    return row_of(job, outcome, time.perf_counter() - began)


@lru_cache(1)
def _loaded(folder: Path, options: tuple[tuple[str, Any], ...]) -> Samples:
    return load(folder, **dict(options))
