"""Small networks that the study trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....models import LateFusion, MultimodalNetwork

WIDTH = 64
DROPOUT = 0.2


class SmallNetwork(MultimodalNetwork):
    """An encoder per modality, a hidden layer on all features side by side, a linear head.

    Args:
        inputs: of some samples, by modality: vectors (N, D) or sequences (N, D, T).
        outputs: classes, or 1 for a regression.
    """

    def __init__(self, inputs: Mapping[str, Tensor], outputs: int) -> None:
        super().__init__({name: encoder(values) for name, values in inputs.items()})
        self.outputs = outputs
        self.fusion = nn.Sequential(
            nn.Linear(WIDTH * len(inputs), WIDTH), nn.ReLU(), nn.Dropout(DROPOUT)
        )
        self.head = nn.Linear(WIDTH, outputs)

    def encode(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give vectors (N, 64) by modality."""
        return {name: module(inputs[name]) for name, module in self.encoders.items()}

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Give the prediction, (N, outputs)."""
        return self.head(self.fusion(torch.cat(list(features.values()), dim=1)))


class SmallEnsemble(LateFusion):
    """A small network per modality, and a rule that joins their predictions.

    Args:
        inputs: as of :class:`SmallNetwork`.
        outputs: classes, or 1 for a regression.
        rule: see :class:`cggm.models.LateFusion`.
    """

    def __init__(self, inputs: Mapping[str, Tensor], outputs: int, rule: str) -> None:
        members = {name: SmallNetwork({name: values}, outputs) for name, values in inputs.items()}
        super().__init__(dict(members), rule)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        """Give the prediction, (N, outputs)."""
        found = [member({name: inputs[name]}) for name, member in self.members.items()]
        everywhere = torch.ones(len(found[0]), dtype=torch.bool)
        return self.combine(found, [everywhere] * len(found))


def encoder(values: Tensor) -> nn.Module:
    """Two layers on vectors, or two convolutions on sequences, to vectors (N, 64)."""
    if values.ndim == 2:
        return nn.Sequential(
            nn.Linear(values.shape[1], WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
        )
    half = WIDTH // 2
    return nn.Sequential(
        nn.Conv1d(values.shape[1], half, 7, stride=2),
        nn.ReLU(),
        nn.Conv1d(half, WIDTH, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Dropout(DROPOUT),
    )


class SmallClassifier(nn.Module):
    """f_i of eq. 5: a hidden layer and a linear head on one encoder's vectors."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def classifiers_of(network: SmallNetwork) -> nn.ModuleDict:
    """One classifier per modality of a network."""
    names = network.modalities
    return nn.ModuleDict({name: SmallClassifier(network.outputs) for name in names})
