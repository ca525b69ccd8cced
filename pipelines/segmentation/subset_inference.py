"""Segmentation with every subset of the sequences, each sequence encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .outputs import classes_of
from .region_calibration import RegionCalibration
from .slice_inference import CenteredSlices, SliceBatchInferer, neighbors_of


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
    sequences. Subsets with a sequence that a case does not have stay background, but for the last,
    that of all sequences: it is of those that the case has.

    Args:
        sequences: the network's, in its order.
        batch_size: slices per forward pass.
    """

    def __init__(self, sequences: Sequence[str], batch_size: int = 16) -> None:
        super().__init__(batch_size)
        self.sequences = tuple(sequences)
        self.subsets = subsets_of(sequences)

    def __call__(
        self,
        inputs: Tensor,
        network: nn.Module,
        *args: Any,
        present: Tensor | None = None,
        truth: Tensor | None = None,
        brain: Tensor | None = None,
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, subsets, X, Y, Z), in the order of `subsets`."""
        result = torch.zeros(len(inputs), len(self.subsets), *inputs.shape[2:], dtype=torch.uint8)
        self.calibration = []
        for i, volume in enumerate(inputs):
            calibrations = [RegionCalibration() for _ in self.subsets]
            slices = CenteredSlices(
                volume, None if brain is None else brain[i], neighbors_of(network)
            )
            there = None if present is None or bool(present[i].all()) else present[i]
            for number, chosen, logits in self._parts(volume, slices, network, there):
                inside = slices.inside_box(logits, chosen)
                classes = classes_of(inside).to("cpu", torch.uint8).movedim(0, -1)
                x, y, _ = slices.box
                result[i, number, x, y, chosen.cpu()] = classes
                if truth is not None:
                    calibrations[number].add(inside, truth[i, 0, x, y, chosen].movedim(-1, 0))
            if truth is not None:
                self.calibration.append(np.stack([each.errors for each in calibrations]))
        return result

    def _parts(
        self, volume: Tensor, slices: CenteredSlices, network: nn.Module, present: Tensor | None
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number of a subset that a case has, indices of n slices, logits (n, classes, H, W)."""
        kept = self._kept(present)
        for start in range(0, len(slices.filled), self.batch_size):
            chosen = slices.filled[start : start + self.batch_size]
            predictions = self._predictions(slices.seen(chosen), network, kept.values(), present)
            for number, logits in zip(kept, predictions, strict=True):
                yield number, chosen, logits

    def _kept(self, present: Tensor | None) -> dict[int, tuple[str, ...]]:
        """Subsets that a case has, by their number; as the last all of its sequences."""
        names = having(self.sequences, present)
        kept = {i: part for i, part in enumerate(self.subsets) if set(names).issuperset(part)}
        return {**kept, len(self.subsets) - 1: names}

    def _predictions(
        self,
        seen: Tensor,
        network: Any,
        subsets: Iterable[tuple[str, ...]],
        present: Tensor | None,
    ) -> Iterator[Tensor]:
        """Logits (n, classes, ...) of each subset."""
        if not getattr(network, "can_fuse", False):
            for subset in subsets:
                here = torch.tensor([name in subset for name in self.sequences])
                yield network(seen, present=here.to(seen.device))
            return
        features = network.encode(seen, **({} if present is None else {"present": present}))
        for subset in subsets:
            logits = network.fuse({name: features[name] for name in subset})
            yield logits[(..., *map(slice, seen.shape[2:]))]


def having(sequences: Sequence[str], present: Tensor | None) -> tuple[str, ...]:
    """Name the sequences that are there, in their order.

    Args:
        sequences: S names.
        present: which of them, bool, shape (S,); None for all.
    """
    there = [True] * len(sequences) if present is None else present.tolist()
    return tuple(name for name, here in zip(sequences, there, strict=True) if here)
