"""Training, validation and test samples of a feature set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, some
from ..split_file import (
    FILE_NAME,
    PARTS,
    Split,
    check_split,
    keep_given,
    refuse_other_making,
    split_content,
    split_parts,
    write_split,
)
from .feature_set import FeatureSet
from .table import SAMPLES

PUBLISHED, CARVED, DRAWN = "published", "carved out of train", "drawn"
VAL_FRACTION, TEST_FRACTION, SEED = 0.1, 0.2, 0
BINS = 10  # of the labels of a regression
TRIES = 20  # orders of the groups, of which the one with the best part is taken

Array = np.ndarray[Any, Any]


def split_features(
    feature_set: FeatureSet,
    output_dir: str | Path | None,
    *,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int | None = None,
) -> Split:
    """Say which samples train, validate and test.

    A published split is used as it is. A part that it lacks is carved out of train, never out of
    test; without any published split all three parts are drawn. What is drawn keeps the share of
    each class (of each of ten ranges of the labels of a regression) and never breaks a group.

    Args:
        feature_set: what to split.
        output_dir: holds ``split.json``, the split of the run; written when it is not there yet.
            None keeps nothing.
        split_file: a file of the user's instead, with the lists train, val and test.
        val_fraction: share for validation, of what it is carved out of, or of all samples. None
            takes that of ``split.json``, or 0.1.
        test_fraction: likewise for testing; None takes that of ``split.json``, or 0.2.
        seed: of the draw; None takes that of ``split.json``, or 0.

    Returns:
        {"train": [...], "val": [...], "test": [...]}, each sorted and none empty.

    Raises:
        InputError: a part would be empty or train without a class, the fractions are wrong, or a
            file does not fit the samples, their groups, the published split or the settings.
    """
    if split_file is not None:
        split = _read(Path(split_file), feature_set)
        if output_dir is not None:
            keep_given(split, split_file, output_dir)
        return split
    origin = _origin(feature_set)
    asked = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": seed}
    settings = _settings(origin, asked)
    file = None if output_dir is None else Path(output_dir) / FILE_NAME
    if file is not None and file.exists():
        return _kept(file, feature_set, origin, {name: asked[name] for name in settings})
    split = _made(feature_set, origin, settings)
    _check(split, feature_set, feature_set.folder / SAMPLES)
    if file is not None:
        write_split(file, split, {"origin": origin, **settings})
    return split


def _kept(
    file: Path, feature_set: FeatureSet, origin: dict[str, str], asked: Mapping[str, Any]
) -> Split:
    """The split of the run, refused where it was not made as it is asked for now."""
    content = split_content(file)
    made = {"origin": origin} if "origin" in content else {}
    refuse_other_making(content, file, {**made, **asked})
    split = _read(file, feature_set)
    if "split_file" not in content:
        _refuse_other_published(split, feature_set, origin, file)
    return split


def _origin(feature_set: FeatureSet) -> dict[str, str]:
    """How each part comes about."""
    published = {feature_set.splits.get(name, "") for name in feature_set.ids} - {""}
    if published <= {"train"}:
        return dict.fromkeys(PARTS, DRAWN)
    if "train" not in published:
        raise InputError(
            f"{feature_set.folder}: no sample is for training, all are for "
            f"{' and '.join(sorted(published))}; name some of them train, or leave the column "
            "split empty to draw all parts"
        )
    return {part: PUBLISHED if part in published else CARVED for part in PARTS}


def _settings(origin: Mapping[str, str], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that matter for this origin, as they are kept."""
    defaults = {"val_fraction": VAL_FRACTION, "test_fraction": TEST_FRACTION, "seed": SEED}
    chosen = {name: asked[name] if asked[name] is not None else defaults[name] for name in asked}
    seed = chosen.pop("seed")
    used = {
        name: float(share)
        for name, share in chosen.items()
        if origin[name.removesuffix("_fraction")] != PUBLISHED
    }
    if any(not 0 < share < 1 for share in used.values()) or sum(used.values()) >= 1:
        raise InputError(
            " and ".join(f"{name} is {share}" for name, share in used.items())
            + "; expected numbers above 0 that add up to less than 1"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    return used | ({"seed": seed} if used else {})


def _made(feature_set: FeatureSet, origin: Mapping[str, str], settings: Mapping[str, Any]) -> Split:
    parts: Split = {part: [] for part in PARTS}
    for name in sorted(feature_set.ids):
        published = feature_set.splits.get(name) if origin["train"] == PUBLISHED else "train"
        parts[published or "train"].append(name)
    there = len(parts["train"])
    for number, part in enumerate(("test", "val")):
        if origin[part] != PUBLISHED:
            # Both shares are of the samples that were there first.
            wanted = max(1, round(settings[f"{part}_fraction"] * there))
            seed = settings["seed"] + number
            held = set(_held_out(feature_set, parts["train"], wanted, seed))
            parts[part] = [name for name in parts["train"] if name in held]
            parts["train"] = [name for name in parts["train"] if name not in held]
    return parts


def _held_out(feature_set: FeatureSet, names: Sequence[str], wanted: int, seed: int) -> list[str]:
    """Draw `wanted` samples, by strata; with groups, about so many. Each stratum keeps some."""
    strata = np.unique(_strata(feature_set, names), return_inverse=True)[1]
    groups = np.unique([feature_set.groups[name] for name in names], return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    if groups.max() + 1 == len(names):
        held = _held_rows(strata, wanted, generator)
    else:
        held = _held_groups(strata, groups, wanted, generator)
    if not held.size:
        raise InputError(
            f"{feature_set.folder}: nothing can be held out of {len(names):,} samples so that "
            "every class stays in training and no group is broken; add samples, or publish a split "
            f"in the column split of {SAMPLES}"
        )
    return [names[int(index)] for index in np.sort(held)]


def _strata(feature_set: FeatureSet, names: Sequence[str]) -> Array:
    labels = np.array([_label(feature_set, name) for name in names])
    if feature_set.task == "classification":
        return labels.astype(int)
    bins = max(1, min(BINS, len(names) // 10))
    edges = np.unique(np.quantile(labels, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, labels, side="right")


def _label(feature_set: FeatureSet, name: str) -> float:
    label = feature_set.labels[name]
    if label is None:
        raise InputError(
            f"{feature_set.folder}: {name} has no label, so it cannot be split; label it, or "
            "publish a split in the column split"
        )
    return label


def _held_rows(strata: Array, wanted: int, generator: np.random.Generator) -> Array:
    """Rows, so many of each stratum that the shares are as equal as whole numbers allow."""
    counts = np.bincount(strata)
    exact = counts * min(wanted / len(strata), 1.0)
    taken = np.minimum(exact.astype(int), counts - 1)
    # Largest remainder: one more for those furthest below their share; among equals by lot.
    lots = generator.permutation(len(counts))
    while taken.sum() < wanted and (taken < counts - 1).any():
        lack = np.where(taken < counts - 1, exact - taken, -np.inf)
        taken[lots[np.argmax(lack[lots])]] += 1
    rows = [
        generator.permutation(np.flatnonzero(strata == stratum))[:count]
        for stratum, count in enumerate(taken)
    ]
    return np.concatenate(rows)


def _held_groups(
    strata: Array, groups: Array, wanted: int, generator: np.random.Generator
) -> Array:
    """Rows of whole groups: of several draws the one nearest in size and in shares of strata."""
    table = np.zeros((groups.max() + 1, strata.max() + 1), int)
    np.add.at(table, (groups, strata), 1)
    target = table.sum(0) * (wanted / len(strata))

    def distance(chosen: list[int]) -> float:
        found = table[chosen].sum(0)
        return float((found.sum() - wanted) ** 2 + ((found - target) ** 2).sum())

    draws = [_drawn_groups(table, target, generator) for _ in range(TRIES)]
    best = min((draw for draw in draws if draw), key=distance, default=[])
    return np.flatnonzero(np.isin(groups, best))


def _drawn_groups(table: Array, target: Array, generator: np.random.Generator) -> list[int]:
    """Groups in a random order, as long as they bring the part nearer to its size.

    Args:
        table: samples by group and stratum, shape (G, S).
        target: samples of each stratum that the part should have, shape (S,).
    """
    order = generator.permutation(len(table))
    left, sizes, wanted = table.sum(0), table.sum(1), target.sum()
    held, size, chosen = np.zeros_like(left), 0, dict[int, None]()
    # First no stratum gets more than its share; then those are taken that bring up the size.
    for most in (np.ceil(target), left):
        for group in map(int, order):
            row, larger = table[group], size + sizes[group]
            if group in chosen or abs(larger - wanted) >= abs(size - wanted):
                continue
            if (held + row <= np.minimum(most, left - 1))[row > 0].all():
                held, size = held + row, larger
                chosen[group] = None
    if not chosen:  # all groups are large
        free = [int(g) for g in order if (table[g] < left)[table[g] > 0].all()]
        return [min(free, key=sizes.__getitem__)] if free else []
    return list(chosen)


def _read(file: Path, feature_set: FeatureSet) -> Split:
    split = split_parts(split_content(file), file)
    _check(split, feature_set, file)
    return split


def _refuse_other_published(
    split: Split, feature_set: FeatureSet, origin: Mapping[str, str], file: Path
) -> None:
    if origin["train"] != PUBLISHED:
        return
    kept = {name: part for part in PARTS for name in split[part]}
    # Out of train a sample may have been carved; nothing leaves or enters another published part.
    moved = [
        name
        for name, part in feature_set.splits.items()
        if kept[name] != part and (part != "train" or origin[kept[name]] == PUBLISHED)
    ]
    if moved:
        raise InputError(
            f"{file} puts {len(moved):,} samples into another part than {SAMPLES}: {some(moved)}; "
            "pass another --output_dir for a new split"
        )


def _check(split: Split, feature_set: FeatureSet, file: Path) -> None:
    owner_of = feature_set.groups.__getitem__
    check_split(split, feature_set.ids, file, owner_of=owner_of, words=("sample", "group"))
    there = {feature_set.labels[name] for name in split["train"]}
    absent = [name for number, name in enumerate(feature_set.classes or []) if number not in there]
    if absent and there != {None}:
        raise InputError(
            f"{file}: training has no sample of these classes: {some(absent)}; every class must be "
            "in train"
        )
