"""Which samples of a feature set train, which choose the model, which give the final figures?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from ..errors import InputError, some
from ..files import write_json
from ..splits import FILE_NAME, PARTS, Split, check_split, split_content, split_parts
from .feature_set import FeatureSet
from .table import SAMPLES

PUBLISHED, CARVED, DRAWN = "published", "carved out of train", "drawn"
MOST_FOLDS = 50  # a share is rounded to so many parts where groups must stay whole
BINS = 10  # of the labels of a regression

Array = np.ndarray[Any, Any]


def split_features(
    feature_set: FeatureSet,
    output_dir: str | Path | None,
    *,
    split_file: str | Path | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Say which samples train, validate and test.

    A published split is used as it is. A part that it lacks is carved out of train, never out of
    test; without any published split all three parts are drawn. What is drawn keeps the share of
    each class (of each of ten ranges of the labels of a regression) and never breaks a group.

    Args:
        feature_set: what to split.
        output_dir: holds ``split.json``, written when it is not there yet; None keeps nothing.
        split_file: a file of the user's instead, with the lists train, val and test.
        val_fraction: share for validation, of what it is carved out of, or of all samples.
        test_fraction: likewise for testing.
        seed: of the draw.

    Returns:
        {"train": [...], "val": [...], "test": [...]}, each sorted and none empty.

    Raises:
        InputError: a part would be empty or train without a class, the fractions are wrong, or the
            file does not fit the samples, their groups, the published split or the settings.
    """
    if split_file is not None:
        return _read(Path(split_file), feature_set)
    origin = _origin(feature_set)
    settings = _settings(origin, val_fraction, test_fraction, seed)
    file = None if output_dir is None else Path(output_dir) / FILE_NAME
    if file is not None and file.exists():
        _refuse_other_making(split_content(file), file, {"origin": origin, **settings})
        split = _read(file, feature_set)
        _refuse_other_published(split, feature_set, origin, file)
        return split
    split = _made(feature_set, origin, val_fraction, test_fraction, seed)
    _check(split, feature_set, feature_set.folder / SAMPLES)
    if file is not None:
        counts = {part: len(split[part]) for part in PARTS}
        write_json(file, {"origin": origin, **settings, "counts": counts, **split})
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


def _settings(
    origin: Mapping[str, str], val_fraction: float, test_fraction: float, seed: int
) -> dict[str, Any]:
    """The settings that matter for this origin, as they are kept."""
    fractions = {"val": float(val_fraction), "test": float(test_fraction)}
    used = {part: share for part, share in fractions.items() if origin[part] != PUBLISHED}
    if any(not 0 < share < 1 for share in used.values()) or sum(used.values()) >= 1:
        raise InputError(
            f"val_fraction is {val_fraction} and test_fraction {test_fraction}; expected numbers "
            "above 0 that add up to less than 1"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    settings: dict[str, Any] = {f"{part}_fraction": share for part, share in used.items()}
    return settings | ({"seed": seed} if used else {})


def _made(
    feature_set: FeatureSet,
    origin: Mapping[str, str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> Split:
    parts: Split = {part: [] for part in PARTS}
    for name in sorted(feature_set.ids):
        published = feature_set.splits.get(name) if origin["train"] == PUBLISHED else "train"
        parts[published or "train"].append(name)
    left = 1.0
    for number, (part, share) in enumerate((("test", test_fraction), ("val", val_fraction))):
        if origin[part] != PUBLISHED:
            # Both shares are of the samples that were there first.
            held = set(_held_out(feature_set, parts["train"], share / left, seed + number))
            parts[part] = [name for name in parts["train"] if name in held]
            parts["train"] = [name for name in parts["train"] if name not in held]
            left -= share
    return parts


def _held_out(
    feature_set: FeatureSet, names: Sequence[str], fraction: float, seed: int
) -> list[str]:
    """Draw about `fraction` of the samples, by strata and groups; each stratum keeps some."""
    strata = _strata(feature_set, names)
    groups = np.unique([feature_set.groups[name] for name in names], return_inverse=True)[1]
    free = np.flatnonzero(~np.isin(groups, _only_groups(strata, groups)))
    wanted = round(fraction * len(names))
    held = free[:0]
    if len(np.unique(groups)) == len(names) and _enough(strata[free], wanted):
        draw = StratifiedShuffleSplit(1, test_size=wanted, random_state=seed)
        held = free[next(draw.split(free, strata[free]))[1]]
    elif free.size:
        held = _held_groups(strata, groups, free, wanted, seed)
    if not held.size:
        raise InputError(
            f"{feature_set.folder}: nothing can be held out of {len(names):,} samples so that "
            "every class stays in training and no group is broken; add samples, or publish a split "
            f"in the column split of {SAMPLES}"
        )
    return [names[int(index)] for index in held]


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


def _only_groups(strata: Array, groups: Array) -> list[int]:
    """Groups that alone have a stratum: these must stay."""
    found = (np.unique(groups[strata == stratum]) for stratum in np.unique(strata))
    return [int(owners[0]) for owners in found if len(owners) == 1]


def _enough(strata: Array, wanted: int) -> bool:
    """Whether scikit-learn can draw so many with each stratum on both sides."""
    counts = np.unique(strata, return_counts=True)[1]
    return counts.size > 0 and counts.min() >= 2 and counts.size <= wanted <= strata.size // 2


def _held_groups(strata: Array, groups: Array, free: Array, wanted: int, seed: int) -> Array:
    """Take whole groups: some of the folds of a cross-validation over the rows in `free`."""
    most = min(MOST_FOLDS, len(np.unique(groups[free])), int(np.bincount(strata[free]).max()))
    if most < 2:
        return free[:0]
    share = Fraction(min(max(wanted, 1) / free.size, 1.0)).limit_denominator(most)
    if not 0 < share < 1:
        share = Fraction(1 if share == 0 else most - 1, most)
    with warnings.catch_warnings():
        # scikit-learn warns of a class that has fewer rows than there are folds.
        warnings.simplefilter("ignore", UserWarning)
        draw = StratifiedGroupKFold(share.denominator, shuffle=True, random_state=seed)
        folds = [rows for _, rows in draw.split(free, strata[free], groups[free])]
    for first in range(len(folds)):
        turned = [*folds[first:], *folds[:first]][: share.numerator]
        held = free[np.sort(np.concatenate(turned))]
        if held.size and set(np.delete(strata, held)) == set(strata):
            return held
    return free[:0]


def _read(file: Path, feature_set: FeatureSet) -> Split:
    split = split_parts(split_content(file), file)
    _check(split, feature_set, file)
    return split


def _refuse_other_making(content: Mapping[str, Any], file: Path, wanted: Mapping[str, Any]) -> None:
    for key in ("origin", "val_fraction", "test_fraction", "seed"):
        found = content.get(key)
        if found != wanted.get(key) and "origin" in content:
            raise InputError(
                f"{file} was made with {key} {_words(found)}, now {key} is "
                f"{_words(wanted.get(key))}; delete the file to make a new split, or use the old "
                "setting and data"
            )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{part}: {how}" for part, how in value.items()) + ")"
    return "not used" if value is None else str(value)


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
            "delete the file to make a new split"
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
