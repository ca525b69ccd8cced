"""Segmentation of volumes by a network for slices, in batches of slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...data.brats.normalization import find_brain
from ...data.brats.slices import fit

MULTIPLE = 16  # pixels: sides of a slice that networks take without padding it themselves


class SliceBatchInferer(Inferer):
    """Segment volumes with a network for slices: batches of slices, and none that are empty.

    Validation, evaluation, inference and :class:`.Segmenter` all go through here. The box of the
    brain is centered on the smallest slice with sides of multiples of 16, so that a result does
    not depend on how the volume was cropped, on other cases, or on specks beside the brain. All
    outside the brain is background.

    Args:
        batch_size: slices per forward pass.

    Attributes:
        removed: voxels of tumor outside the brain that the last call removed, one number per
            volume.
    """

    def __init__(self, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.batch_size = batch_size
        self.removed: list[int] = []

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args: Any, present: Tensor | None = None
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, 1, X, Y, Z); 0 outside the brain.

        Args:
            inputs: normalized volumes, zeros outside the brain, shape (B, S, X, Y, Z).
            network: takes (slices, S, X, Y), and ``present`` when it is given.
            args: further positional arguments of the network.
            present: which sequences exist, shape (B, S).
        """
        result = torch.zeros(len(inputs), 1, *inputs.shape[2:], dtype=torch.uint8)
        removed = []
        for i, volume in enumerate(inputs):
            there = None if present is None else present[i]
            removed.append(0)
            for chosen, logits in self.logits(volume, network, *args, present=there):
                result[i, 0, :, :, chosen] = logits.argmax(1).to("cpu", torch.uint8).movedim(0, -1)
                removed[i] += self.removed[0]
        self.removed = removed
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
            Indices of n slices along Z, on the CPU, and their logits (n, classes, X, Y): certainly
            background outside the brain. ``removed`` is then that of these slices.
        """
        if isinstance(network, DistributedDataParallel):
            network = network.module  # the wrapper waits for processes that have fewer slices
        # Saying that all are there costs nothing to leave out, and any network takes the call.
        extra = {} if present is None or bool(present.all()) else {"present": present}
        slices = CenteredSlices(volume)
        for start in range(0, len(slices.filled), self.batch_size):  # none for an empty volume
            chosen = slices.filled[start : start + self.batch_size]
            logits = slices.restored(network(slices.seen(chosen), *args, **extra))
            logits, removed = slices.inside_brain(logits, chosen)
            self.removed = [removed]
            yield chosen.cpu(), logits


class CenteredSlices:
    """The slices of a volume as a network sees them: the box of the brain in their center.

    Args:
        volume: normalized, zeros outside the brain, shape (S, X, Y, Z).

    Attributes:
        filled: indices of the slices that are not empty, along Z.
        box: of the brain, where a slice is not empty.
    """

    def __init__(self, volume: Tensor) -> None:
        self._slices = volume.movedim(-1, 0)
        inside = volume.any(0)
        self.filled = torch.nonzero(inside.flatten(0, 1).any(0))[:, 0]
        if not len(self.filled):
            return
        brain, self.box = find_brain(inside.cpu().numpy())
        self._x, self._y, _ = self.box
        self._brain = torch.from_numpy(brain).movedim(-1, 0).to(volume.device)
        self._box = (self._x.stop - self._x.start, self._y.stop - self._y.start)
        self._size = tuple(-(-side // MULTIPLE) * MULTIPLE for side in self._box)

    def seen(self, chosen: Tensor) -> Tensor:
        """Give slices to the network, shape (n, S, H, W) with H and W multiples of 16."""
        box = self._slices[chosen][:, :, self._x, self._y]
        return fit(box, (self._size[0], self._size[1]))

    def restored(self, logits: Tensor) -> Tensor:
        """Bring logits (n, classes, H, W) to the slices of the volume, (n, classes, X, Y)."""
        whole = logits.new_zeros(*logits.shape[:2], *self._slices.shape[2:])
        whole[:, :, self._x, self._y] = fit(logits, self._box)
        return whole

    def inside_brain(self, logits: Tensor, chosen: Tensor) -> tuple[Tensor, int]:
        """Make all outside the brain certainly background; tell how many voxels were tumor."""
        outside = ~self._brain[chosen]
        removed = int((logits.argmax(1).bool() & outside).sum())
        background = logits.new_full((1, logits.shape[1], 1, 1), -torch.inf)
        background[:, 0] = 0
        return torch.where(outside[:, None], background, logits), removed
