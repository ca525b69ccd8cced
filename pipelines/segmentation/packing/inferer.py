"""Segmentation of whole volumes whose absent sequences are channels of zeros."""

from __future__ import annotations

from typing import Any

from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from ..window_inference import case_inferer


class PresentSequencesInferer(Inferer):
    """Segment volumes as the rest of the package does; a channel of zeros is an absent sequence.

    Whoever runs a packed bundle gives one tensor, so the tensor says which sequences there are.

    Args:
        patch_size: side of a window of a network for volumes; None for one of slices.
        batch_size: slices or windows per forward pass; None takes 32 or 2.
    """

    def __init__(self, patch_size: int | None = None, batch_size: int | None = None) -> None:
        self.whole = case_inferer(patch_size, batch_size)

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Return class numbers, uint8 (B, 1, X, Y, Z) on the CPU; 0 outside the brain.

        Args:
            inputs: from :class:`.NormalizeSequencesd`, shape (B, S, X, Y, Z).
            network: see :class:`.SliceBatchInferer`.
            args: further positional arguments of the network.
            kwargs: further arguments of :class:`.SliceBatchInferer`.
        """
        volumes = convert_to_tensor(inputs, track_meta=False)
        present = volumes.flatten(2).any(-1)
        classes = self.whole(volumes, network, *args, present=present, **kwargs)
        # MONAI turns masks back by what a prediction remembers of its image.
        remembers = isinstance(inputs, MetaTensor)
        return MetaTensor(classes).copy_meta_from(inputs) if remembers else classes
