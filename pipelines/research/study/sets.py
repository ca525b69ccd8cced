"""Data of the study, and their division for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor
from torch.nn.functional import avg_pool1d
from torch.utils.data import Dataset

from ....data.errors import InputError
from ....data.features.dataset import FeatureDataset, collate_features
from ....data.features.feature_set import open_feature_set

FOLDS = 5  # one tests, the next one validates, three train
REAL = ("foods", "stamps", "emoji_groups", "digits", "watch", "emoji")
# Readings, pairs averaged, that are learned from end to end; of all others the mean over the steps.
SEQUENCES = ("watch",)
DIAL = "dial"
DIALS = tuple(f"{DIAL}-{share}" for share in (0, 50, 100))
NAMES = (*REAL, *DIALS)
SAMPLES = 1500  # of a generated set
CLASSES, NOISE = 6, 150
STRENGTHS, DOUBT = (2.5, 2.2), 0.25
# Of six views of a digit, three that are not enough by themselves.
VIEWS = {"digits": ("fou", "mor", "zer")}


@dataclass(frozen=True)
class Samples:
    """All samples of one data set, in memory.

    Attributes:
        name: of the data.
        inputs: by modality, vectors (N, D) or sequences (N, D, T), float32, not standardized.
        labels: class numbers (N,), or values (N, 1).
        groups: samples of one group never fall into two parts.
        classes: how many; None for a regression.
    """

    name: str
    inputs: dict[str, Tensor]
    labels: Tensor
    groups: tuple[str, ...]
    classes: int | None

    @property
    def outputs(self) -> int:
        return self.classes or 1

    @property
    def task(self) -> str:
        return "classification" if self.classes else "regression"

    def of(self, modality: str) -> Samples:
        """The same samples with one modality only."""
        return replace(self, inputs={modality: self.inputs[modality]})

    def divided(self, seed: int) -> dict[str, Tensor]:
        """Indices for training, validation and testing: fold `seed % 5` of division `seed // 5`.

        So the tests of seeds 0 to 4 cover every sample once, as do those of 5 to 9.
        """
        strata = self.labels if self.classes else self.labels[:, 0].argsort().argsort()
        strata = strata.numpy() if self.classes else strata.numpy() * 10 // len(self.labels)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed // FOLDS)
        held = [test for _, test in folds.split(strata, strata, self.groups)]
        test, val = held[seed % FOLDS], held[(seed + 1) % FOLDS]
        train = np.setdiff1d(np.arange(len(strata)), np.concatenate([test, val]))
        parts = {"train": train, "val": val, "test": test}
        return {name: torch.from_numpy(np.sort(part)) for name, part in parts.items()}

    def standardized(self, train: Tensor) -> dict[str, Tensor]:
        """Inputs with mean 0 and deviation 1 of each column over the training samples."""
        return {name: _standardized(values, train) for name, values in self.inputs.items()}


class Part(Dataset[dict[str, Any]]):
    """Some of the samples; a loader gets whole batches of it, with :func:`as_it_is` to collate.

    Args:
        inputs: of all samples.
        labels: of all samples.
        indices: those of this part.
    """

    def __init__(self, inputs: dict[str, Tensor], labels: Tensor, indices: Tensor) -> None:
        self.inputs, self.labels, self.indices = inputs, labels, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self._chosen(self.indices[number])

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, Any]:
        return self._chosen(self.indices[list(numbers)])

    def whole(self) -> dict[str, Any]:
        """All of it as one batch."""
        return self._chosen(self.indices)

    def _chosen(self, chosen: Tensor) -> dict[str, Any]:
        inputs = {name: values[chosen] for name, values in self.inputs.items()}
        return {"inputs": inputs, "label": self.labels[chosen], "id": chosen.tolist()}


def as_it_is(batch: Any) -> Any:
    """Collate nothing: a :class:`Part` gives batches."""
    return batch


@lru_cache
def load(name: str, folder: str | Path) -> Samples:
    """Read a real data set, or draw a generated one.

    Args:
        name: one of :data:`NAMES`.
        folder: where ``cggm stand-ins all`` put the feature sets.

    Raises:
        InputError: there is none of this name, or it is not in the folder.
    """
    if name in DIALS:
        return dial(int(name.removeprefix(f"{DIAL}-")) / 100)
    if name not in REAL:
        raise InputError(f"the study has no data {name!r}; it has {', '.join(NAMES)}")
    path = Path(folder) / name
    if not path.is_dir():
        raise InputError(
            f"there is no feature set {path}; make it with `cggm stand-ins "
            f"{name} --output {folder}`"
        )
    features = open_feature_set(path, modalities=VIEWS.get(name))
    whole = FeatureDataset(features, list(features.ids))
    batch = collate_features([whole[i] for i in range(len(whole))])
    inputs = {
        modality: avg_pool1d(values.transpose(1, 2), 2)
        if name in SEQUENCES
        else values.sum(1) / lengths[:, None].clamp(min=1)
        for modality, (values, lengths) in batch["inputs"].items()
    }
    groups = tuple(features.groups[i] for i in features.ids)
    classes = None if features.classes is None else len(features.classes)
    return Samples(features.name, inputs, batch["label"], groups, classes)


def dial(share: float, samples: int = SAMPLES, seed: int = 0) -> Samples:
    """Draw two modalities that tell about equally much, of which one hides a share of it.

    Both have evidence e = s (onehot(y) + 0.25 n) + n' for the class y, the noise n common to both,
    n' their own; s is 2.5 and 2.2. "fast" shows all of it, beside 150 directions of plain noise by
    which a network can learn the training samples by heart. "slow" shows the part (1 - share) of
    its evidence as it is, and the rest times the product of two signs, which it shows in other
    directions. Reading it takes a product of three inputs, which a network learns late; by then
    the loss on the training samples may have no slope left. So at 0 the modalities learn alike, and
    at 1 the imbalance is largest, while what the data tell never changes.

    Args:
        share: of the evidence that is hidden, from 0 to 1.
        samples: how many.
        seed: of the draw.
    """
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, CLASSES, samples)
    meaning = np.eye(CLASSES)[labels] + DOUBT * draws.normal(size=(samples, CLASSES))
    fast, slow = (s * meaning + draws.normal(size=meaning.shape) for s in STRENGTHS)
    signs = draws.choice([-1.0, 1.0], (samples, 2))
    hidden = round(share * CLASSES)  # directions of the evidence that are behind the signs
    slow[:, :hidden] *= signs.prod(1, keepdims=True)
    values = {
        "fast": np.concatenate([fast, draws.normal(size=(samples, NOISE))], axis=1),
        "slow": np.concatenate([slow, 2 * signs], axis=1),
    }
    inputs = {name: torch.from_numpy(_turned(part, draws)) for name, part in values.items()}
    ids = tuple(map(str, range(samples)))
    title = f"generated, {share:.0%} of one modality hidden"
    return Samples(title, inputs, torch.from_numpy(labels), ids, CLASSES)


def _turned(values: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """In directions that are no axes, at least 16, with a little noise."""
    width = max(16, values.shape[1])
    basis = np.linalg.qr(draws.normal(size=(width, width)))[0][: values.shape[1]]
    return (values @ basis + draws.normal(0, 0.1, (len(values), width))).astype(np.float32)


def _standardized(values: Tensor, train: Tensor) -> Tensor:
    axes = [axis for axis in range(values.ndim) if axis != 1]
    mean = values[train].mean(axes, keepdim=True)
    deviation = values[train].std(axes, keepdim=True)
    return (values - mean) / torch.where(deviation > 1e-6, deviation, 1.0)
