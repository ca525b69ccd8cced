"""A published set of features as read, and remarks worth making about it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..split_file import PARTS

_EDGE = 2**20

# Goes through items and may show how far it is: (items, what they are) -> the same items.
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def silently(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Go through items and show nothing."""
    return items


@dataclass(frozen=True)
class Modality:
    """The features of one modality.

    Attributes:
        width: length of a feature vector.
        lengths: steps of each sample, in the order of the rows.
        read: gives pairs of an id and an array (T, width), in the order of the rows.
    """

    width: int
    lengths: list[int]
    read: Callable[[], Iterator[tuple[str, np.ndarray]]]


@dataclass(frozen=True)
class PublishedSet:
    """What a reader of a published format found; nothing is converted yet.

    Attributes:
        name: of the data set.
        task: "classification" or "regression".
        classes: names in the order of the class numbers; None for regression.
        rows: of each sample "id", "label" (class name or number), "split" and what else is known.
        modalities: features by modality; empty where there are images and texts instead.
        notes: what a user should know, one sentence each.
        files: what it was read from; the fingerprint is taken of these.
        settings: what else the result depends on, such as the fold.
        source: one sentence: where it is from.
        terms: one sentence: what may be done with it.
        left_out: samples that cannot be used, with the reason.
        images: folder that paths of images in the rows are relative to.
    """

    name: str
    task: str
    classes: list[str] | None
    rows: list[dict[str, Any]]
    modalities: dict[str, Modality]
    notes: list[str]
    files: list[Path]
    settings: dict[str, Any]
    source: str
    terms: str
    left_out: list[dict[str, str]] = field(default_factory=list)
    images: Path | None = None

    def describe(self) -> list[str]:
        """Say what is there, as lines of a report."""
        lines = [f"{self.name}, {self.task}, {len(self.rows):,} samples"]
        lines += _target_lines(self.rows, self.classes)
        for name, modality in self.modalities.items():
            low, middle, high = np.percentile(modality.lengths, [0, 50, 100])
            lines.append(
                f"  {name}: width {modality.width}, steps {low:.0f} / {middle:.0f} / {high:.0f} "
                "(min / median / max)"
            )
        return lines


def fingerprint(files: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """Tell one source from another: names, sizes, first and last MiB of the files, and settings."""
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for path in sorted(files):
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size]).encode())
        with open(path, "rb") as file:
            digest.update(file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            digest.update(file.read(_EDGE))
    return digest.hexdigest()


def fitting_groups(
    candidates: Mapping[str, Sequence[str]], splits: Sequence[str]
) -> tuple[str, Sequence[str]] | None:
    """Choose the first way of grouping in which no group falls into two parts.

    Args:
        candidates: group of each sample, by name of the grouping; the coarsest first.
        splits: part of each sample.

    Returns:
        Name and groups; None if every way breaks a group.
    """
    for name, groups in candidates.items():
        if len(set(zip(groups, splits, strict=True))) == len(set(groups)):
            return name, groups
    return None


def trimmed(array: np.ndarray) -> tuple[int, int]:
    """Give the slice of an array (T, D) without zero steps at its ends; (0, 1) if all are zero."""
    used = np.flatnonzero(np.any(array != 0, axis=1))
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)


def share(count: int, total: int) -> str:
    """Write a number out of another: ``12 of 1,234 (1.0 %)``."""
    return f"{count:,} of {total:,} ({100 * count / max(total, 1):.1f} %)"


def _target_lines(rows: Sequence[Mapping[str, Any]], classes: Sequence[str] | None) -> list[str]:
    there = {row["split"] for row in rows}
    parts = [*(part for part in PARTS if part in there), *sorted(there - set(PARTS))]
    if classes is None:
        return [
            f"  {part}: {_values([row['label'] for row in rows if row['split'] == part])}"
            for part in parts
        ]
    counts = Counter((row["label"], row["split"]) for row in rows)
    totals = Counter(row["split"] for row in rows)
    lines = [f"  {'class':<24}" + "".join(f"{part:>10}" for part in parts)]
    for name in classes:
        lines.append(f"  {name:<24}" + "".join(f"{counts[name, part]:>10,}" for part in parts))
    return [*lines, f"  {'all':<24}" + "".join(f"{totals[part]:>10,}" for part in parts)]


def _values(labels: Sequence[float | None]) -> str:
    known = np.array([label for label in labels if label is not None], float)
    count = f"{len(labels):,} samples"
    if not known.size:
        return f"{count}, no labels"
    return f"{count}, labels {known.min():.2f} to {known.max():.2f}, mean {known.mean():.2f}"
