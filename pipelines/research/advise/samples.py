"""Samples of a feature set in memory, and their divisions into training, validation and test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import Tensor

from ....data.errors import InputError
from ....data.features.feature_set import FeatureSet, open_feature_set
from ..study.families import Part, standardized

FOLDS = 5  # one tests, the next one validates, three train
BINS = 10  # of the labels of a regression, for folds that are alike
FEWEST = 100


@dataclass(frozen=True)
class Samples:
    """Samples of one data set: of each modality one vector, the mean over its steps.

    Attributes:
        name: of the data.
        inputs: by modality, vectors (N, D) in float32.
        labels: class numbers (N,), or values (N, 1).
        groups: of each sample; samples of one group never fall into two parts.
        classes: how many; None for a regression.
        digest: of all this, so that results of other data are not taken for these.
        left_out: what of the data is not here, in words; empty for nothing.
    """

    name: str
    inputs: dict[str, Tensor]
    labels: Tensor
    groups: tuple[str, ...]
    classes: int | None
    digest: str = ""
    left_out: str = ""

    @property
    def task(self) -> str:
        return "classification" if self.classes else "regression"

    @property
    def modalities(self) -> list[str]:
        return list(self.inputs)

    def parts(self, division: int) -> dict[str, Part]:
        """Samples for training, validation and testing, standardized by those for training."""
        rows = self.divided(division)
        labels = self.labels
        if self.classes is None:
            train = labels[rows["train"]]
            labels = (labels - train.mean()) / train.std().clamp(min=1e-6)
        whole = Part(self.inputs, labels)
        parts = {name: whole.at(part) for name, part in rows.items()}
        return {name: standardized(part, parts["train"]) for name, part in parts.items()}

    def divided(self, division: int) -> dict[str, Tensor]:
        """Indices for training, validation and testing: 60, 20 and 20 %, groups whole.

        Divisions 0 to 4 test every sample once, as do 5 to 9, of another draw.
        """
        grouped = len(set(self.groups)) < len(self.groups)
        kind = StratifiedGroupKFold if grouped else StratifiedKFold  # the latter is much faster
        folds = kind(FOLDS, shuffle=True, random_state=division // FOLDS)
        strata, groups = self._strata(), self.groups if grouped else None
        held = [test for _, test in folds.split(strata, strata, groups)]
        test, val = held[division % FOLDS], held[(division + 1) % FOLDS]
        train = np.setdiff1d(np.arange(len(strata)), np.concatenate([test, val]))
        parts = {"train": train, "val": val, "test": test}
        return {name: torch.from_numpy(np.sort(part)) for name, part in parts.items()}

    def _strata(self) -> np.ndarray:
        if self.classes:
            return self.labels.numpy()
        ranks = self.labels[:, 0].argsort().argsort().numpy()
        return ranks * BINS // len(ranks)


def load(folder: str | Path, *, most: int, modalities: Sequence[str] | None = None) -> Samples:
    """Read a feature set; of a published split, the test part is left alone.

    Args:
        folder: see :func:`~cggm.data.features.feature_set.open_feature_set`.
        most: samples; of more, groups are drawn until there are so many.
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
    kept = _drawn(free, features.groups, most)
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


def _drawn(names: Sequence[str], groups: Mapping[str, str], most: int) -> list[str]:
    """At most so many samples, groups whole where they are not larger than that."""
    if len(names) <= most:
        return list(names)
    numbers = np.unique([groups[name] for name in names], return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(numbers.max() + 1)[numbers]
    chosen = np.argsort(order, kind="stable")[:most]
    return [names[int(index)] for index in np.sort(chosen)]


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
