"""Segmentation of volumes by a network for slices, in batches of slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn


class SliceBatchInferer(Inferer):
    """Segment volumes with a network for slices: batches of slices, and none that are empty.

    Args:
        batch_size: slices per forward pass.
    """

    def __init__(self, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.batch_size = batch_size

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args: Any, present: Tensor | None = None
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, 1, X, Y, Z); 0 where a slice is empty.

        Args:
            inputs: normalized volumes, zeros outside the brain, shape (B, S, X, Y, Z).
            network: takes (slices, S, X, Y), and ``present`` when it is given.
            args: further positional arguments of the network.
            present: which sequences exist, shape (B, S).
        """
        result = torch.zeros(len(inputs), 1, *inputs.shape[2:], dtype=torch.uint8)
        for i, volume in enumerate(inputs):
            there = None if present is None else present[i]
            for chosen, logits in self.logits(volume, network, *args, present=there):
                result[i, 0, :, :, chosen] = logits.argmax(1).to("cpu", torch.uint8).movedim(0, -1)
        return result

    def logits(
        self, volume: Tensor, network: nn.Module, *args: Any, present: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give logits of the slices of one volume that are not empty, batch by batch.

        Args:
            volume: normalized, zeros outside the brain, shape (S, X, Y, Z).
            network: as in the call, as are ``args``.
            args: likewise.
            present: which sequences exist, shape (S,).

        Yields:
            Indices of n slices along Z, on the CPU, and their logits (n, classes, X, Y).
        """
        slices = volume.movedim(-1, 0)
        filled = torch.nonzero(slices.flatten(1).any(1))[:, 0]
        # Saying that all are there costs nothing to leave out, and any network takes the call.
        extra = {} if present is None or bool(present.all()) else {"present": present}
        for start in range(0, len(filled), self.batch_size):  # none for an empty volume
            chosen = filled[start : start + self.batch_size]
            yield chosen.cpu(), network(slices[chosen].contiguous(), *args, **extra)
