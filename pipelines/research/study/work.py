"""Trainings of the study that are still to be done, and results of those that were."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ....data.errors import InputError
from ....data.processes import end_with_parent
from ...methods import UMT, create
from .sets import Samples, load
from .training import EPOCHS, Outcome, train
from .variants import JOINT, RATES, Variant, all_variants

HUGE = 10.0  # factors beyond this size are counted
FILE = "results.jsonl"
SEARCH_SEEDS = range(5)  # of joint training's search for a learning rate


@dataclass(frozen=True)
class Result:
    """A line of the file of results.

    Attributes:
        data: name of the data set.
        variant: name of the variant.
        group: of the variant.
        seed: of division, weights and batches.
        rate: the learning rate.
        val: percent, of the best epoch.
        test: percent, of that epoch.
        epoch: the best.
        classifiers: percent on the test part, by modality, of the last epoch.
        factors: "mean" and "spread" (standard deviation over the steps) by modality, and over all
            "negative", "huge" and "neutral", shares of the factors; empty without factors.
    """

    data: str
    variant: str
    group: str
    seed: int
    rate: float
    val: float
    test: float
    epoch: int
    classifiers: dict[str, float]
    factors: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A variant on one data set with one seed, and the controls that play its factors.

    Attributes:
        data: name of the data set.
        folder: of the feature sets.
        seed: of division, weights and batches.
        rate: learning rate.
        variants: what is still to be done.
        epochs: of each training.
    """

    data: str
    folder: str
    seed: int
    rate: float
    variants: tuple[str, ...]
    epochs: int = EPOCHS


def read(path: Path) -> list[Result]:
    """What was done so far; a last line that was cut short is not counted.

    Raises:
        InputError: a line is no result.
    """
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")[:-1]
    try:
        return [Result(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} holds something else than results ({error}); move it") from error


def work(jobs: Sequence[Job], path: Path, processes: int) -> None:
    """Do the jobs side by side, and add a line to the file for every training."""
    total = sum(len(job.variants) for job in jobs)
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_short_line(path)
    with tqdm(total=total, unit="training", disable=None) as bar, open(path, "a") as file:
        for results in _side_by_side(jobs, processes):
            for result in results:
                file.write(json.dumps(asdict(result)) + "\n")
                bar.update()
            file.flush()


def jobs_left(
    done: Iterable[Result],
    data: Sequence[str],
    folder: str,
    seeds: Sequence[int],
    wanted: Sequence[str] | None = None,
) -> list[Job]:
    """What is not in the results yet, at the learning rate that joint training chose.

    Args:
        done: the results so far.
        data: names of data sets.
        folder: of their feature sets.
        seeds: which.
        wanted: names of variants; all when not given.

    Raises:
        InputError: no data set has a variant of this name.
    """
    done = list(done)
    known = {(r.data, r.variant, r.seed, r.rate) for r in done}
    rates = {name: chosen_rate([r for r in done if r.data == name]) for name in data}
    variants = {name: variants_of(load(name, folder)) for name in data}
    _check_names(wanted or (), [v.name for listed in variants.values() for v in listed])
    left = []
    for seed in seeds:
        for name, rate in rates.items():
            todo: dict[str, list[str]] = {}
            for v in variants[name]:
                if (wanted is None or v.name in wanted) and (name, v.name, seed, rate) not in known:
                    todo.setdefault(v.control_of or v.name, []).append(v.name)
            left += [Job(name, folder, seed, rate, tuple(names)) for names in todo.values()]
    return left


def variants_of(samples: Samples) -> list[Variant]:
    """What there is to compare on these data."""
    return all_variants(list(samples.inputs), samples.task)


def _check_names(wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        known = "; ".join(dict.fromkeys(names))
        raise InputError(f"no variant is called {unknown[0]!r}; there are {known}")


def search_left(
    done: Iterable[Result], data: Sequence[str], folder: str, seeds: Sequence[int] = SEARCH_SEEDS
) -> list[Job]:
    """What joint training's search for a learning rate still needs."""
    known = {(r.data, r.seed, r.rate) for r in done if r.variant == JOINT}
    return [
        Job(name, folder, seed, rate, (JOINT,))
        for seed in seeds
        for name in data
        for rate in RATES
        if (name, seed, rate) not in known
    ]


def chosen_rate(results: Sequence[Result]) -> float:
    """The learning rate at which joint training was best on validation; 1e-3 without a search."""
    by_rate: dict[float, list[float]] = {}
    for result in results:
        if result.variant == JOINT:
            by_rate.setdefault(result.rate, []).append(result.val)
    most = max(map(len, by_rate.values()), default=0)
    means = {rate: np.mean(vals) for rate, vals in by_rate.items() if len(vals) == most}
    return max(means, key=lambda rate: means[rate]) if means else RATES[len(RATES) // 2]


def _side_by_side(jobs: Sequence[Job], processes: int) -> Iterator[list[Result]]:
    if processes == 1:
        yield from map(_do, jobs)
        return
    spawn = get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=end_with_parent) as pool:
        try:
            for done in as_completed([pool.submit(_do, job) for job in jobs]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _do(job: Job) -> list[Result]:
    torch.set_num_threads(1)  # two that share the cores would wait for each other at every step
    return list(_trained(job))


def _trained(job: Job) -> Iterator[Result]:
    samples = load(job.data, job.folder)
    factors: dict[str, Tensor] = {}
    variants = {v.name: v for v in variants_of(samples)}

    def run(variant: Variant) -> Outcome:
        table = torch.zeros(0, 0)
        if variant.control_of is not None:
            if variant.control_of not in factors:
                factors[variant.control_of] = run(variants[variant.control_of]).factors
            table = factors[variant.control_of]
        score = "mae" if samples.classes is None else variant.score
        method = variant.make(table, job.seed)
        data = samples if variant.alone is None else samples.of(variant.alone)
        settings = {"seed": job.seed, "lr": job.rate, "score": score, "epochs": job.epochs}
        if not isinstance(method, UMT):
            return train(data, method, **settings)
        with TemporaryDirectory() as folder:
            method.teachers = f"{folder}/teachers.pt"
            train(data, create("unimodal"), **settings, keep=Path(method.teachers))
            return train(data, method, **settings)

    for name in job.variants:
        outcome = run(variants[name])
        factors[name] = outcome.factors
        yield _result(job, variants[name], outcome, list(samples.inputs))


def _result(job: Job, variant: Variant, outcome: Outcome, modalities: list[str]) -> Result:
    return Result(
        job.data,
        variant.name,
        variant.group,
        job.seed,
        job.rate,
        round(outcome.val, 4),
        round(outcome.test, 4),
        outcome.epoch,
        {name: round(value, 4) for name, value in outcome.classifiers.items()},
        summary(outcome.factors, modalities),
    )


def summary(factors: Tensor, modalities: Sequence[str]) -> dict[str, Any]:
    """What is kept of the factors of a training, shape (steps, M)."""
    if factors.numel() == 0:
        return {}
    means, spreads = factors.mean(0).tolist(), factors.std(0).tolist()
    shares = {
        "negative": factors < 0,
        "huge": factors.abs() > HUGE,
        "neutral": (factors == 1).all(1),
    }
    return {
        "mean": dict(zip(modalities, means, strict=True)),
        "spread": dict(zip(modalities, spreads, strict=True)),
        **{name: float(counted.float().mean()) for name, counted in shares.items()},
    }


def _cut_short_line(path: Path) -> None:
    """A line that a killed study left unfinished would spoil the next one."""
    if path.is_file():
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            with open(path, "r+b") as file:
                file.truncate(end)
