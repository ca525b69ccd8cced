"""Samples of a feature set in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ....data.errors import InputError
from ....data.features.feature_set import FeatureSet, open_feature_set
from .samples import FOLDS, Samples, drawn

FEWEST, MOST = 100, 3000  # samples


def load_features(
    folder: str | Path, most: int | None = None, modalities: Sequence[str] | None = None
) -> Samples:
    """Read a feature set; of a published split, the test part is left alone.

    Args:
        folder: see :func:`~cggm.data.features.feature_set.open_feature_set`.
        most: samples, by default 3,000; of more, groups are drawn until there are so many.
        modalities: the ones to read; all when not given.

    Raises:
        InputError: the folder is no feature set, or has too little to divide.
    """
    features = open_feature_set(folder, modalities=modalities)
    if len(features.modalities) < 2:
        raise InputError(
            f"{folder} has the modality {features.modalities[0]} only; there is nothing to balance"
        )
    free = [name for name in features.ids if features.splits.get(name) != "test"]
    kept = drawn(free, features.groups, most or MOST)
    _check(folder, features, kept)
    labels = [features.labels[name] for name in kept]
    inputs = {
        modality: torch.from_numpy(np.stack([file.read(name).mean(0) for name in kept]))
        for modality, file in features.files.items()
    }
    classes = None if features.classes is None else len(features.classes)
    told = (
        torch.tensor(labels, dtype=torch.int64)
        if classes
        else torch.tensor(labels, dtype=torch.float32)[:, None]
    )
    groups = tuple(features.groups[name] for name in kept)
    left_out = _left_out(len(features.ids) - len(free), len(free) - len(kept))
    digest = _digest(features, kept, groups)
    return Samples(features.name, inputs, told, groups, classes, digest, left_out)


def _check(folder: str | Path, features: FeatureSet, kept: Sequence[str]) -> None:
    groups = {features.groups[name] for name in kept}
    if len(kept) < FEWEST or len(groups) < FOLDS:
        raise InputError(
            f"{folder} has {len(kept):,} samples of {len(groups):,} groups beside a published test "
            f"part; advice takes at least {FEWEST} samples of {FOLDS} groups"
        )


def _left_out(tests: int, surplus: int) -> str:
    words = [f"{tests:,} samples of the published test part"] if tests else []
    words += [f"{surplus:,} more samples, to save time"] if surplus else []
    return " and ".join(words)


def _digest(features: FeatureSet, kept: Sequence[str], groups: Sequence[str]) -> str:
    sums = {name: file.checksum for name, file in features.files.items()}
    labels = [features.labels[name] for name in kept]
    told = json.dumps([sums, list(kept), labels, list(groups), features.classes])
    return hashlib.sha256(told.encode()).hexdigest()
