"""Samples and batches of features as tensors, and the statistics of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ..errors import InputError, some
from .feature_set import FeatureSet

BLOCK = 2**14  # steps that are summed at once
CONSTANT = 1e-6  # a spread below this share of the mean is rounding


class FeatureDataset(Dataset[dict[str, Any]]):
    """Samples of a feature set as dictionaries of tensors.

    Args:
        feature_set: where the samples lie.
        data: ids of the samples to show, in this order.
        modalities: names of the modalities to show; all of the set when not given.
        max_length: most steps of a sequence, one number or one per modality; longer sequences are
            cut at the end. None cuts nothing.

    Raises:
        InputError: a sample or modality is not in the set, or a length is out of range.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        data: Sequence[str],
        *,
        modalities: Sequence[str] | None = None,
        max_length: int | Mapping[str, int] | None = None,
    ) -> None:
        self.feature_set = feature_set
        self.data = list(data)
        self.modalities = list(feature_set.modalities if modalities is None else modalities)
        _check(feature_set, self.data, self.modalities)
        self.max_length = _lengths(max_length, self.modalities)
        self.labeled = all(feature_set.labels[name] is not None for name in self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one sample.

        Returns:
            "inputs": {modality: float32 (T, D)}; "label": int64 () for classification, float32 (1,)
            for regression, absent when a sample of `data` has no label; "id": its id.
        """
        name = self.data[index]
        item: dict[str, Any] = {
            "inputs": {modality: self.read(modality, name) for modality in self.modalities},
            "id": name,
        }
        if self.labeled:
            item["label"] = self._label(name)
        return item

    def read(self, modality: str, name: str) -> Tensor:
        """Read one modality of a sample, cut to its most steps: float32 (T, D)."""
        values = self.feature_set.files[modality].read(name)
        return torch.from_numpy(values[: self.max_length.get(modality)])

    def _label(self, name: str) -> Tensor:
        label = self.feature_set.labels[name]
        if self.feature_set.task == "classification":
            return torch.tensor(label, dtype=torch.int64)
        return torch.tensor([label], dtype=torch.float32)


def collate_features(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch; sequences are padded with zeros to the longest of the batch.

    Args:
        items: of a :class:`FeatureDataset`.

    Returns:
        "inputs": {modality: (float32 (B, T, D), int64 lengths (B,))}; "label": int64 (B,) for
        classification, float32 (B, 1) for regression, absent when the items have none; "id": the
        ids.
    """
    batch: dict[str, Any] = {
        "inputs": {
            modality: _padded([item["inputs"][modality] for item in items])
            for modality in items[0]["inputs"]
        },
        "id": [item["id"] for item in items],
    }
    if "label" in items[0]:
        batch["label"] = torch.stack([item["label"] for item in items])
    return batch


def feature_statistics(dataset: FeatureDataset) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of each column over all steps of all samples of `dataset`.

    Everything is read once; memory holds a block of steps. Sums are in float64.

    Returns:
        {modality: (mean (D,), std (D,))} in float32; the std of a constant column is 1.
    """
    return {modality: _statistics(dataset, modality) for modality in dataset.modalities}


def _statistics(dataset: FeatureDataset, modality: str) -> tuple[Tensor, Tensor]:
    scaler = StandardScaler()
    block: list[np.ndarray] = []
    steps = 0
    for number, name in enumerate(dataset.data, start=1):
        block.append(dataset.read(modality, name).numpy().astype(np.float64))
        steps += len(block[-1])
        if steps >= BLOCK or number == len(dataset.data):
            scaler.partial_fit(np.concatenate(block))
            block, steps = [], 0
    mean, std = np.asarray(scaler.mean_), np.sqrt(np.asarray(scaler.var_))
    std[std <= CONSTANT * np.abs(mean)] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def _padded(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    return pad_sequence(list(sequences), batch_first=True), lengths


def _check(feature_set: FeatureSet, data: list[str], modalities: list[str]) -> None:
    known = set(feature_set.ids)
    unknown = [name for name in data if name not in known]
    if unknown or not data:
        raise InputError(
            f"{feature_set.folder} has no samples {some(unknown)}"
            if unknown
            else f"no sample of {feature_set.folder} to show; expected at least one"
        )
    missing = [name for name in modalities if name not in feature_set.modalities]
    if missing or not modalities:
        raise InputError(
            f"{feature_set.folder}: {some(missing) or 'no modality'} asked for; it was opened with "
            f"{', '.join(feature_set.modalities)}"
        )


def _lengths(max_length: int | Mapping[str, int] | None, modalities: list[str]) -> dict[str, int]:
    if max_length is None:
        return {}
    if isinstance(max_length, int):
        max_length = dict.fromkeys(modalities, max_length)
    unknown = [name for name in max_length if name not in modalities]
    wrong = [length for length in max_length.values() if length < 1]
    if unknown or wrong:
        raise InputError(
            f"max_length is {dict(max_length)}; expected 1 or more steps for any of "
            f"{', '.join(modalities)}"
        )
    return dict(max_length)
