"""Segmentation of volumes by a network for slices, in batches of slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...data.brats.conventions import region_mask
from ...data.brats.normalization import find_brain
from ...data.brats.slices import fit
from .outputs import background_logits, classes_of
from .region_calibration import RegionCalibration

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
        calibration: where the last call was given the truth, the expected calibration errors of
            WT, TC and ET in [0, 1], shape (predictions, 3) for each volume.
    """

    def __init__(self, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.batch_size = batch_size
        self.removed: list[int] = []
        self.calibration: list[np.ndarray] = []

    def __call__(
        self,
        inputs: Tensor,
        network: nn.Module,
        *args: Any,
        present: Tensor | None = None,
        truth: Tensor | None = None,
        brain: Tensor | None = None,
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, 1, X, Y, Z); 0 outside the brain.

        Args:
            inputs: normalized volumes, zeros outside the brain, shape (B, S, X, Y, Z).
            network: takes (slices, S, X, Y), or (slices, S (2n + 1), X, Y) with its n
                ``neighbors``, and ``present`` when it is given.
            args: further positional arguments of the network.
            present: which sequences exist, shape (B, S).
            truth: class numbers, shape (B, 1, X, Y, Z), to measure the calibration.
            brain: of volumes that were cropped to its box, bool, shape (B, X, Y, Z); found when
                not given.
        """
        result = torch.zeros(len(inputs), 1, *inputs.shape[2:], dtype=torch.uint8)
        removed = []
        self.calibration = []
        for i, volume in enumerate(inputs):
            there = None if present is None else present[i]
            removed.append(0)
            calibration = RegionCalibration()
            known = None if brain is None else brain[i]
            for chosen, logits in self.logits(volume, network, *args, present=there, brain=known):
                classes = classes_of(logits).to("cpu", torch.uint8)
                result[i, 0, :, :, chosen] = classes.movedim(0, -1)
                removed[i] += self.removed[0]
                if truth is not None:
                    calibration.add(logits, truth[i, 0, :, :, chosen].movedim(-1, 0))
            if truth is not None:
                self.calibration.append(calibration.errors[None])
        self.removed = removed
        return result

    def logits(
        self,
        volume: Tensor,
        network: nn.Module,
        *args: Any,
        present: Tensor | None = None,
        brain: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Give logits of the slices of one volume that are not empty, batch by batch.

        Args:
            volume: normalized, zeros outside the brain, shape (S, X, Y, Z).
            network: as in the call, as are ``args``.
            args: likewise.
            present: which sequences exist, shape (S,).
            brain: see :class:`CenteredSlices`.

        Yields:
            Indices of n slices along Z, on the CPU, and their logits (n, classes, X, Y): certainly
            background outside the brain. ``removed`` is then that of these slices.
        """
        if isinstance(network, DistributedDataParallel):
            network = network.module  # the wrapper waits for processes that have fewer slices
        # Saying that all are there costs nothing to leave out, and any network takes the call.
        extra = {} if present is None or bool(present.all()) else {"present": present}
        slices = CenteredSlices(volume, brain, neighbors_of(network))

        def predict(seen: Tensor) -> Tensor:
            return network(seen, *args, **extra)

        for chosen, boxed in self._predicted(volume, slices, predict):  # none if all is empty
            logits, removed = slices.inside_brain(slices.restored(boxed), chosen)
            self.removed = [removed]
            yield chosen.cpu(), logits

    def _predicted(
        self, volume: Tensor, slices: CenteredSlices, predict: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices of n slices that are not empty, and their logits (n, classes, H, W)."""
        for start in range(0, len(slices.filled), self.batch_size):
            chosen = slices.filled[start : start + self.batch_size]
            yield chosen, predict(slices.seen(chosen))


class CenteredSlices:
    """The slices of a volume as a network sees them: the box of the brain in their center.

    Args:
        volume: normalized, zeros outside the brain, shape (S, X, Y, Z).
        brain: of a volume that was cropped to its box, bool, shape (X, Y, Z); found when not given.
        neighbors: slices on either side that the network sees, too; beyond the brain, its outermost
            slice again.

    Attributes:
        filled: indices of the slices that are not empty, along Z.
        box: of the brain, where a slice is not empty.
    """

    def __init__(self, volume: Tensor, brain: Tensor | None = None, neighbors: int = 0) -> None:
        self._slices = volume.movedim(-1, 0)
        inside = volume.any(0)
        self.filled = torch.nonzero(inside.flatten(0, 1).any(0))[:, 0]
        if not len(self.filled):
            return
        if brain is None:
            found, self.box = find_brain(inside.cpu().numpy())
            brain = torch.from_numpy(found)
        else:
            x, y, z = (slice(0, side) for side in volume.shape[1:])
            self.box = x, y, z
        x, y, _ = self.box
        self._x, self._y = x, y
        self._brain = brain.movedim(-1, 0).to(volume.device)
        self._sides = (x.stop - x.start, y.stop - y.start)
        self._around = torch.arange(-neighbors, neighbors + 1, device=volume.device)
        self._size = tuple(-(-side // MULTIPLE) * MULTIPLE for side in self._sides)

    def seen(self, chosen: Tensor) -> Tensor:
        """Give slices to the network, shape (n, S, H, W) with H and W multiples of 16.

        With neighbors S (2 neighbors + 1) channels, those of a sequence in a row.
        """
        numbers = (chosen[:, None] + self._around).clamp(self.filled[0], self.filled[-1])
        box = self._slices[:, :, self._x, self._y][numbers].movedim(1, 2).flatten(1, 2)
        return fit(box, (self._size[0], self._size[1]))

    def restored(self, logits: Tensor) -> Tensor:
        """Bring logits (n, classes, H, W) to the slices of the volume, (n, classes, X, Y)."""
        whole = logits.new_zeros(*logits.shape[:2], *self._slices.shape[2:])
        whole[:, :, self._x, self._y] = fit(logits, self._sides)
        return whole

    def inside_box(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Bring logits (n, classes, H, W) to the box of the brain, certain background around it."""
        box, brain = fit(logits, self._sides), self._brain[chosen][:, self._x, self._y]
        return torch.where(brain[:, None], box, background_logits(box))

    def inside_brain(self, logits: Tensor, chosen: Tensor) -> tuple[Tensor, int]:
        """Make all outside the brain certainly background; tell how many voxels were tumor."""
        outside = ~self._brain[chosen]
        removed = int((region_mask(classes_of(logits), "WT") & outside).sum())
        return torch.where(outside[:, None], background_logits(logits), logits), removed


def neighbors_of(network: nn.Module) -> int:
    """Slices on either side of the one it segments that a network sees, too."""
    return int(getattr(network, "neighbors", 0))  # type: ignore[arg-type]
