"""Segmentation of volumes by a network for volumes, in overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn

from .slice_inference import CenteredSlices, SliceBatchInferer
from .subset_inference import SubsetInferer

OVERLAP = 0.25  # of neighboring windows, as MONAI's own default
SLICES, WINDOWS = 32, 2  # per forward pass, where nobody chose


class WindowInferer(SliceBatchInferer):
    """Segment volumes with a network for volumes: MONAI's sliding window over the brain's box.

    Windows start at the box of the brain, so that a result does not depend on how the volume was
    cropped. They overlap by a quarter and are blended with Gaussian weights. All outside the brain
    is background. Call and attributes are those of :class:`.SliceBatchInferer`.

    Args:
        window: side of a window in voxels, such as that of the patches in training.
        batch_size: windows per forward pass.
    """

    def __init__(self, window: int, batch_size: int = WINDOWS) -> None:
        super().__init__(batch_size)
        self.window = checked_window(window)

    def _predicted(
        self, volume: Tensor, slices: CenteredSlices, predict: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All slices that are not empty, in one part; see the base class."""
        if len(slices.filled):
            boxed = predict_windows(volume, slices, predict, self.window, self.batch_size)
            yield slices.filled, in_slices(boxed, volume, slices)


class WindowSubsetInferer(SubsetInferer):
    """Segment volumes once for every subset of the sequences, in windows.

    Each window is encoded once and fused for every subset.

    Args:
        sequences: the network's, in its order.
        window: side of a window in voxels.
        batch_size: windows per forward pass.
    """

    def __init__(self, sequences: Sequence[str], window: int, batch_size: int = WINDOWS) -> None:
        super().__init__(sequences, batch_size)
        self.window = checked_window(window)

    def _parts(
        self, volume: Tensor, slices: CenteredSlices, network: nn.Module, present: Tensor | None
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        kept = self._kept(present)

        def predict(window: Tensor) -> Tensor:
            return torch.cat([*self._predictions(window, network, kept.values(), present)], dim=1)

        if len(slices.filled):
            boxed = predict_windows(volume, slices, predict, self.window, self.batch_size)
            for number, part in zip(kept, boxed.chunk(len(kept)), strict=True):
                yield number, slices.filled, in_slices(part, volume, slices)


def predict_windows(
    volume: Tensor,
    slices: CenteredSlices,
    predict: Callable[[Tensor], Tensor],
    window: int,
    batch_size: int,
) -> Tensor:
    """Blend predictions of windows over the box of the brain.

    Args:
        volume: normalized, shape (S, X, Y, Z).
        slices: of this volume.
        predict: gives channels (n, C, w, w, w) for windows (n, S, w, w, w).
        window: side w of a window.
        batch_size: windows at a time.

    Returns:
        Shape (C, x, y, z), the box of the brain.
    """
    boxed = volume[(slice(None), *slices.box)][None]
    blended = sliding_window_inference(
        boxed, (window,) * 3, batch_size, predict, overlap=OVERLAP, mode="gaussian"
    )
    assert isinstance(blended, Tensor), "predict gives one tensor"
    return blended[0]


def in_slices(boxed: Tensor, volume: Tensor, slices: CenteredSlices) -> Tensor:
    """Bring channels of the brain's box to its slices that are not empty, (n, C, x, y)."""
    whole = boxed.new_zeros(*boxed.shape[:3], volume.shape[-1])
    whole[..., slices.box[2]] = boxed
    return whole.movedim(-1, 0)[slices.filled]


def case_inferer(window: int | None, batch_size: int | None = None) -> SliceBatchInferer:
    """Give what segments whole cases.

    Args:
        window: None for a network for slices, else the side of a window in voxels.
        batch_size: slices or windows per forward pass; None takes 32 or 2.
    """
    if window is None:
        return SliceBatchInferer(batch_size or SLICES)
    return WindowInferer(window, batch_size or WINDOWS)


def evaluation_inferer(
    sequences: Sequence[str],
    *,
    subsets: bool,
    window: int | None = None,
    batch_size: int | None = None,
) -> SliceBatchInferer:
    """Give what ``evaluate.json`` segments with: all sequences, or every subset of them too.

    Args:
        sequences: the network's, in its order.
        subsets: whether every subset is asked for.
        window: as for :func:`case_inferer`.
        batch_size: likewise.
    """
    if not subsets:
        return case_inferer(window, batch_size)
    if window is None:
        return SubsetInferer(sequences, batch_size or SLICES)
    return WindowSubsetInferer(sequences, window, batch_size or WINDOWS)


def checked_window(window: int) -> int:
    """Refuse a window that the network would have to pad.

    Raises:
        ValueError: it is no positive multiple of 8.
    """
    if window < 8 or window % 8:
        raise ValueError(f"patch_size is {window}; it must be a multiple of 8 voxels")
    return window
