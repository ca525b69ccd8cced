"""Small networks that the study trains, and their classifiers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....models import LateFusion, MultimodalNetwork

WIDTH, CHANNELS = 48, 8  # of layers on vectors, of convolutions on images


class SmallNetwork(MultimodalNetwork):
    """An encoder per modality, a hidden layer on all features side by side, a linear head.

    Args:
        inputs: of some samples, by modality: vectors (N, W) or images (N, W, height, width).
        outputs: classes, or 1 for a regression.
        per_pixel: whether images get a prediction for each pixel, or one for each image.
    """

    def __init__(
        self, inputs: Mapping[str, Tensor], outputs: int, *, per_pixel: bool = True
    ) -> None:
        super().__init__({name: encoder(values, per_pixel) for name, values in inputs.items()})
        self.outputs = outputs
        images = per_pixel and next(iter(inputs.values())).ndim == 4
        self.size = CHANNELS if images else WIDTH
        self.fusion = nn.Sequential(_layer(images, self.size * len(inputs), self.size), nn.ReLU())
        self.head = _layer(images, self.size, outputs)

    def fuse(self, features: Mapping[str, Tensor], /) -> Tensor:
        """Give the prediction, (N, outputs) or (N, outputs, height, width)."""
        return self.head(self.fusion(torch.cat(list(features.values()), dim=1)))


class SmallEnsemble(LateFusion):
    """A small network per modality, and a rule that joins their predictions.

    Args:
        inputs: as of :class:`SmallNetwork`.
        outputs: classes, or 1 for a regression.
        rule: see :class:`cggm.models.LateFusion`.
        per_pixel: as of :class:`SmallNetwork`.
    """

    def __init__(
        self, inputs: Mapping[str, Tensor], outputs: int, rule: str, *, per_pixel: bool = True
    ) -> None:
        members = {
            name: SmallNetwork({name: values}, outputs, per_pixel=per_pixel)
            for name, values in inputs.items()
        }
        super().__init__(dict(members), rule)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        """Give the prediction, (N, outputs) or (N, outputs, height, width)."""
        found = [member({name: inputs[name]}) for name, member in self.members.items()]
        everywhere = torch.ones(len(found[0]), dtype=torch.bool)
        return self.combine(found, [everywhere] * len(found))


class SmallClassifier(nn.Module):
    """f_i of eq. 5: a hidden layer and a linear head on one encoder's features."""

    def __init__(self, images: bool, size: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(images, size, size), nn.ReLU())
        self.head = _layer(images, size, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def encoder(values: Tensor, per_pixel: bool) -> nn.Module:
    """Two layers on vectors; two convolutions on images, which keep their size or become a vector.

    Args:
        values: some samples.
        per_pixel: whether images keep their size.
    """
    if values.ndim == 2:
        return nn.Sequential(
            nn.Linear(values.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        )
    if not per_pixel:
        return nn.Sequential(
            nn.Conv2d(values.shape[1], CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(2 * CHANNELS * 16, WIDTH),
            nn.ReLU(),
        )
    return nn.Sequential(
        nn.Conv2d(values.shape[1], CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.ReLU(),
    )


def classifiers_of(network: SmallNetwork) -> nn.ModuleDict:
    """One classifier per modality of a network."""
    images = isinstance(network.head, nn.Conv2d)
    return nn.ModuleDict(
        {n: SmallClassifier(images, network.size, network.outputs) for n in network.modalities}
    )


def _layer(images: bool, inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1) if images else nn.Linear(inputs, outputs)
