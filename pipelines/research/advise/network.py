"""The small network that advice trains in place of a bundle's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....models import LateFusion, MultimodalNetwork

WIDTH = 64
DROPOUT = 0.2


class VectorEncoder(nn.Module):
    """Two layers on a vector per sample: phi_i.

    Args:
        inputs: width of the vectors.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
        )

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Encode sequences of one step, (B, 1, inputs) and their lengths, to (B, 64)."""
        values, _ = inputs
        return self.layers(values[:, 0])


class VectorNetwork(MultimodalNetwork):
    """An encoder per modality, a hidden layer on all features side by side, a linear head.

    Args:
        widths: of the vectors, by modality.
        outputs: classes, or 1 for a regression.
    """

    def __init__(self, widths: Mapping[str, int], outputs: int) -> None:
        super().__init__({name: VectorEncoder(width) for name, width in widths.items()})
        self.fusion = nn.Sequential(
            nn.Linear(WIDTH * len(widths), WIDTH), nn.ReLU(), nn.Dropout(DROPOUT)
        )
        self.head = nn.Linear(WIDTH, outputs)

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Give the prediction, (B, outputs); a modality that is not there is zeros."""
        some = next(iter(features.values()))
        found = [features.get(name, torch.zeros_like(some)) for name in self.modalities]
        return self.head(self.fusion(torch.cat(found, dim=1)))


class VectorClassifier(nn.Module):
    """f_i of eq. 5: a hidden layer and a linear head on one encoder's vectors.

    Args:
        outputs: classes, or 1 for a regression.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def build(widths: Mapping[str, int], outputs: int, late_fusion: str | None) -> nn.Module:
    """The network that a method trains."""
    if late_fusion is None:
        return VectorNetwork(widths, outputs)
    members = {name: VectorNetwork({name: width}, outputs) for name, width in widths.items()}
    return LateFusion(dict(members), late_fusion)


def classifiers_for(widths: Mapping[str, int], outputs: int) -> nn.ModuleDict:
    """One classifier per modality."""
    return nn.ModuleDict({name: VectorClassifier(outputs) for name in widths})
