"""The extraction of features from many samples, in little memory, with nothing lost to a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...data.errors import InputError, some
from ...data.features.file import SUFFIX, FeatureFile, write_features
from ...data.words import duration
from .encoder import Encoder
from .media import Unusable
from .parts import (
    LeftOut,
    Outcome,
    Parts,
    alone,
    differences,
    list_of_left_out,
    read_left_out,
    write_left_out,
)
from .table import Sample, checksum


@dataclass(frozen=True)
class Plan:
    """How to go through the samples; none of this changes a feature by more than rounding.

    Args:
        chunk: samples per saved part: what a kill loses, and what memory holds.
        dtype: of the file, "float32" or "float16".
        overwrite: replace an output or a part of other settings.
        readers: threads that read files ahead.
        origin: what the samples came from, for the file's `about`; a name, not a path.
        progress: show a progress bar; None shows it on a terminal.
    """

    chunk: int = 256
    dtype: str = "float32"
    overwrite: bool = False
    readers: int = 4
    origin: str = ""
    progress: bool | None = None

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            InputError: names the setting.
        """
        if self.chunk < 1 or self.readers < 1:
            raise InputError(f"chunk is {self.chunk}, readers {self.readers}; both are at least 1")
        if self.dtype not in ("float32", "float16"):
            raise InputError(f"dtype is {self.dtype!r}; it is float32 or float16")


@dataclass(frozen=True)
class Result:
    """What an extraction gave.

    Attributes:
        file: the features.
        left_out: ids and reasons of the samples without features.
        seconds: how long this run took; None when everything was there already.
        encoded: samples that this run went through; those of an interrupted run are not counted.
    """

    file: FeatureFile
    left_out: LeftOut
    seconds: float | None
    encoded: int

    def __str__(self) -> str:
        what = f"{len(self.file):,} samples, width {self.file.width}"
        if self.seconds is None:
            return f"already extracted: {self.file.path} ({what}, {len(self.left_out)} left out)"
        rate = self.encoded / max(self.seconds, 1e-9)
        missing = f"{len(self.left_out)} left out"
        if self.left_out:
            missing += f", listed in {list_of_left_out(self.file.path)}"
        time_ = f"{duration(self.seconds)}, {rate:.3g} samples/s"
        return f"{self.file.path}: {what}, {time_}, {missing}"


def extract(
    samples: Sequence[Sample], encoder: Encoder, output: str | Path, plan: Plan | None = None
) -> Result:
    """Write the features of samples to a file, in their order.

    A run that is killed goes on where it stopped when it is called again, and ends with the same
    bytes as one that was not.

    Args:
        samples: with unique names.
        encoder: see :func:`load_encoder`.
        output: the file, ending in ``.npy``; beside it are its index, ``<stem>.left_out.csv`` with
            the samples that could not be used and, until it is finished, the folder
            ``<output>.parts``.
        plan: how to go through them.

    Raises:
        InputError: the output exists with other settings, another process writes it, no sample
            could be used, or a feature is not finite.
    """
    plan, output = plan or Plan(), Path(output)
    plan.check()
    if output.suffix != SUFFIX:
        raise InputError(f"the output {output} must end in {SUFFIX}")
    if not samples:
        raise InputError("there are no samples to extract features from")
    began = time.monotonic()
    settings = encoder.about | {"samples": checksum(samples, plan.readers), "dtype": plan.dtype}
    order = {"batch_size": encoder.batch_size, "chunk": plan.chunk}
    with alone(output):
        parts = Parts(output, settings | order)
        finished = _finished(output, settings, parts, plan)
        if finished is not None:
            return Result(finished, read_left_out(output), None, 0)
        parts.open(anew=plan.overwrite)
        chunks = _chunks(samples, plan.chunk)
        encoded = _run(chunks, encoder, parts, plan)
        names = [[sample.name for sample in chunk] for chunk in chunks]
        left_out = _left_out(parts, names)
        if len(left_out) == len(samples):
            parts.remove()
            reasons = some([f"{name}: {reason}" for name, reason in left_out], 3)
            raise InputError(f"no features could be taken from any of the samples ({reasons})")
        about = _about(settings, plan, left_out)
        write_left_out(output, left_out)
        file = write_features(output, parts.features(names), about=about, dtype=plan.dtype)
        parts.remove()
    return Result(file, left_out, time.monotonic() - began, encoded)


def _run(chunks: Sequence[Sequence[Sample]], encoder: Encoder, parts: Parts, plan: Plan) -> int:
    """Encode the parts that are not there yet; return how many samples these have."""
    todo = [number for number in range(len(chunks)) if not parts.is_done(number)]
    total, ahead = sum(map(len, chunks)), sum(len(chunks[number]) for number in todo)
    bar = tqdm(
        total=total,
        initial=total - ahead,
        unit=f" {encoder.kind}",
        disable=None if plan.progress is None else not plan.progress,
        smoothing=0.1,
    )
    pool = ThreadPoolExecutor(plan.readers)
    try:
        with bar:
            for number in todo:
                outcomes: dict[str, Outcome] = {}
                for sample, result in _encoded(chunks[number], encoder, pool):
                    bar.update()
                    if isinstance(result, Unusable):
                        outcomes[sample.name] = str(result) or "no reason given"
                    else:
                        outcomes[sample.name] = _stored(sample, result, encoder, plan)
                parts.write(number, [outcomes[sample.name] for sample in chunks[number]])
    finally:
        pool.shutdown(cancel_futures=True)
    return ahead


def _left_out(parts: Parts, names: Sequence[Sequence[str]]) -> LeftOut:
    return [
        (name, reason)
        for number, part in enumerate(names)
        for name, reason in zip(part, parts.reasons(number), strict=True)
        if reason
    ]


def _encoded(
    samples: Sequence[Sample], encoder: Encoder, pool: ThreadPoolExecutor
) -> Iterator[tuple[Sample, np.ndarray | Unusable]]:
    """Encode samples in batches of similar length, the longest first, reading one batch ahead."""
    order = sorted(samples, key=lambda sample: -encoder.size(sample.source))
    size = encoder.batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    waiting: deque[list[tuple[Sample, Future[Any]]]] = deque()
    for number in range(len(batches) + 1):
        if number < len(batches):
            waiting.append([(s, pool.submit(_read, encoder, s)) for s in batches[number]])
        if number > 0:
            yield from _encode_batch(waiting.popleft(), encoder)


def _encode_batch(
    batch: list[tuple[Sample, Future[Any]]], encoder: Encoder
) -> Iterator[tuple[Sample, np.ndarray | Unusable]]:
    read = [(sample, future.result()) for sample, future in batch]
    usable = [(sample, value) for sample, value in read if not isinstance(value, Unusable)]
    features = encoder.encode([value for _, value in usable]) if usable else []
    yield from ((sample, value) for sample, value in read if isinstance(value, Unusable))
    yield from zip([sample for sample, _ in usable], features, strict=True)


def _read(encoder: Encoder, sample: Sample) -> Any:
    try:
        return encoder.read(sample.source)
    except Unusable as reason:
        return reason


def _stored(sample: Sample, features: np.ndarray, encoder: Encoder, plan: Plan) -> np.ndarray:
    with np.errstate(over="ignore"):
        # A copy, so that not the whole padded batch is kept until the part is written.
        stored = np.array(features, dtype=plan.dtype)
    if not np.isfinite(stored).all():
        precision = encoder.about.get("precision", "float32")
        remedy = "--dtype float32" if np.isfinite(features).all() else "--precision float32"
        raise InputError(
            f"{encoder.name} gives values for {sample.name!r} that are not finite at precision "
            f"{precision} and dtype {plan.dtype}; use {remedy}"
        )
    return stored


def _chunks(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _finished(
    output: Path, settings: dict[str, Any], parts: Parts, plan: Plan
) -> FeatureFile | None:
    """Give the output when it is there and was made with these settings."""
    if not output.exists() or plan.overwrite:
        return None
    file = FeatureFile(output)
    if identity(settings) != file.about.get("identity"):
        new = _compared(settings)
        differs = "; ".join(differences({name: file.about.get(name) for name in new}, new))
        raise InputError(
            f"{output} exists with other settings ({differs}); choose another output, or "
            "--overwrite to replace it"
        )
    parts.remove()  # of a run that was killed between its last two steps
    return file


def identity(settings: dict[str, Any]) -> str:
    """Give the checksum of the settings that make features other ones."""
    return hashlib.sha256(json.dumps(_compared(settings), sort_keys=True).encode()).hexdigest()


def _compared(settings: dict[str, Any]) -> dict[str, Any]:
    # Another machine or version of a library is no reason to extract again.
    return {name: value for name, value in settings.items() if name not in ("versions", "device")}


def _about(settings: dict[str, Any], plan: Plan, left_out: LeftOut) -> dict[str, Any]:
    facts = {"identity": identity(settings), "origin": plan.origin, "left_out": len(left_out)}
    return settings | facts
