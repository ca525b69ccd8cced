"""Segmentation with every subset of the sequences, each sequence encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
            known = None if brain is None else brain[i]
            slices = CenteredSlices(volume, known, neighbors_of(network))
            there = None if present is None or bool(present[i].all()) else present[i]
            for start in range(0, len(slices.filled), self.batch_size):
                chosen = slices.filled[start : start + self.batch_size]
                seen = slices.seen(chosen)
                for number, logits in self._predictions(seen, network, there):
                    inside = slices.inside_box(logits, chosen)
                    classes = classes_of(inside).to("cpu", torch.uint8).movedim(0, -1)
                    result[i, number, slices.x, slices.y, chosen.cpu()] = classes
                    if truth is not None:
                        true = truth[i, 0, slices.x, slices.y, chosen].movedim(-1, 0)
                        calibrations[number].add(inside, true)
            if truth is not None:
                self.calibration.append(np.stack([each.errors for each in calibrations]))
        return result

    def _predictions(
        self, seen: Tensor, network: Any, present: Tensor | None
    ) -> Iterator[tuple[int, Tensor]]:
        """Number of a subset, and logits (n, classes, H, W), of each that a case has."""
        extra = {} if present is None else {"present": present}
        names = having(self.sequences, present)
        fuses = getattr(network, "can_fuse", False)
        features = network.encode(seen, **extra) if fuses else None
        for number, subset in enumerate(self.subsets):
            if number == len(self.subsets) - 1:
                subset = names
            elif not set(names).issuperset(subset):
                continue
            if features is None:
                here = torch.tensor([name in subset for name in self.sequences])
                yield number, network(seen, present=here.to(seen.device))
            else:
                logits = network.fuse({name: features[name] for name in subset})
                yield number, logits[:, :, : seen.shape[2], : seen.shape[3]]


def having(sequences: Sequence[str], present: Tensor | None) -> tuple[str, ...]:
    """Name the sequences that are there, in their order.

    Args:
        sequences: S names.
        present: which of them, bool, shape (S,); None for all.
    """
    there = [True] * len(sequences) if present is None else present.tolist()
    return tuple(name for name, here in zip(sequences, there, strict=True) if here)


def evaluation_inferer(
    sequences: Sequence[str], *, subsets: bool, batch_size: int
) -> SliceBatchInferer:
    """Give what ``evaluate.json`` segments with: all sequences, or every subset of them too."""
    return SubsetInferer(sequences, batch_size) if subsets else SliceBatchInferer(batch_size)
