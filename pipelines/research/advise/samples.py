"""Samples in memory, and their divisions into training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import Tensor

from ..study.families import Part, standardized

FOLDS = 5  # one tests, the next one validates, three train
BINS = 10  # of the labels of a regression, for folds that are alike


@dataclass(frozen=True)
class Samples:
    """Samples of one data set.

    Attributes:
        name: of the data.
        inputs: by modality, vectors (N, D) or images (N, 1, height, width), float32.
        labels: class numbers (N,), values (N, 1), or class numbers (N, 1, height, width).
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
        if self.labels.ndim > 2:
            return "segmentation"
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
        if self.task == "segmentation":
            return np.zeros(len(self.labels))
        if self.task == "classification":
            return self.labels.numpy()
        ranks = self.labels[:, 0].argsort().argsort().numpy()
        return ranks * BINS // len(ranks)


def drawn(names: Sequence[str], groups: Mapping[str, str], most: int) -> list[str]:
    """At most so many samples, groups whole where they are not larger than that.

    Args:
        names: of all samples.
        groups: of each.
        most: of more, so many are drawn.
    """
    if len(names) <= most:
        return list(names)
    numbers = np.unique([groups[name] for name in names], return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(numbers.max() + 1)[numbers]
    chosen = np.argsort(order, kind="stable")[:most]
    return [names[int(index)] for index in np.sort(chosen)]
