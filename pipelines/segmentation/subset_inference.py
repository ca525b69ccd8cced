"""Segmentation with every subset of the sequences, each sequence encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from .slice_inference import CenteredSlices, SliceBatchInferer


def subsets_of(sequences: Sequence[str]) -> list[tuple[str, ...]]:
    """List every subset that is not empty in the order of published tables: all come last.

    >>> subsets_of(["flair", "t2"])
    [('t2',), ('flair',), ('flair', 't2')]
    """
    sizes = range(1, len(sequences) + 1)
    return [part for size in sizes for part in [*combinations(sequences, size)][::-1]]


class SubsetInferer(SliceBatchInferer):
    """Segment volumes once for every subset of the sequences.

    Networks that encode and fuse apart, which are all but those of late fusion, encode each
    sequence once. The brain, and so where a slice lies before the network, is that of all
    sequences.

    Args:
        sequences: the network's, in its order.
        batch_size: slices per forward pass.
    """

    def __init__(self, sequences: Sequence[str], batch_size: int = 16) -> None:
        super().__init__(batch_size)
        self.sequences = tuple(sequences)
        self.subsets = subsets_of(sequences)

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args: Any, present: Tensor | None = None
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, subsets, X, Y, Z), in the order of `subsets`."""
        result = torch.zeros(len(inputs), len(self.subsets), *inputs.shape[2:], dtype=torch.uint8)
        for i, volume in enumerate(inputs):
            slices = CenteredSlices(volume)
            for chosen, predictions in self._batches(volume, slices, network):
                for number, logits in enumerate(predictions):
                    inside, _ = slices.inside_brain(logits, chosen)
                    classes = inside.argmax(1).to("cpu", torch.uint8)
                    result[i, number, :, :, chosen.cpu()] = classes.movedim(0, -1)
        return result

    def _batches(
        self, volume: Tensor, slices: CenteredSlices, network: nn.Module
    ) -> Iterator[tuple[Tensor, Iterator[Tensor]]]:
        """Indices of n slices and, for each subset, their logits (n, classes, X, Y)."""
        for start in range(0, len(slices.filled), self.batch_size):
            chosen = slices.filled[start : start + self.batch_size]
            predictions = self._predictions(slices.seen(chosen), network)
            yield chosen, (slices.restored(logits) for logits in predictions)

    def _predictions(self, seen: Tensor, network: Any) -> Iterator[Tensor]:
        """Logits (n, classes, ...) of each subset."""
        if not hasattr(network, "fuse"):
            for subset in self.subsets:
                here = torch.tensor([name in subset for name in self.sequences])
                yield network(seen, present=here.to(seen.device))
            return
        features = network.encode(seen)
        for subset in self.subsets:
            logits = network.fuse({name: features[name] for name in subset})
            yield logits[(..., *map(slice, seen.shape[2:]))]
