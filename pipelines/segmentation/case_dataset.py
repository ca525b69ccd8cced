"""Whole cases as a network for slices takes them: normalized, cropped to the brain, on a grid."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...data.brats.cases import Case
from ...data.brats.nifti import Volume, read_case
from ...data.brats.normalization import Box, prepare
from ...data.errors import InputError


@dataclass
class ReadCase:
    """A case on its way through the network: its volume and the box of its brain, or an error."""

    case: Case
    volume: Volume | None = None
    box: Box | None = None
    error: str | None = None


class CaseDataset(Dataset):
    """Whole cases, normalized and cropped to the brain as in training.

    An item holds ``image`` (1, S, X, Y, Z), zeros for a sequence that is absent, ``present``
    (1, S), ``brain`` (1, X, Y, Z), ``voxel_ml`` (1,) and ``read``, the :class:`ReadCase`. A case
    that cannot be read gives an empty image and the reason in ``read.error``, so that the others
    are still segmented.

    Args:
        data: cases from :func:`cggm.data.find_cases`.
        sequences: the network's, in its order.
    """

    def __init__(self, data: Sequence[Case], sequences: Sequence[str]) -> None:
        self.data = list(data)
        self.sequences = list(sequences)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.data[index]
        try:
            volume = self._read(case)
            image, box, brain = network_input(volume.images, self.sequences)
            read = ReadCase(case, volume, box)
            voxel_ml = torch.tensor([volume.voxel_ml])
        except InputError as error:
            image = torch.zeros(1, len(self.sequences), 1, 1, 1)
            brain = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
            voxel_ml = torch.zeros(1)
            read = ReadCase(case, error=str(error))
        present = presence(case.images, self.sequences)
        item = {"image": image, "present": present, "brain": brain}
        return {**item, "voxel_ml": voxel_ml, "read": read}

    def _read(self, case: Case) -> Volume:
        try:
            return read_case(case, self.sequences)
        except InputError as error:
            if case.label is None:
                raise
            # The label is only there to be compared with; fails again if the images are at fault.
            volume = read_case(replace(case, label=None), self.sequences)
            print(f"the label is not compared: {error}", file=sys.stderr, flush=True)
            return volume


def network_input(
    images: Mapping[str, np.ndarray], sequences: Sequence[str]
) -> tuple[Tensor, Box, Tensor]:
    """Normalize and crop images as in training.

    Args:
        images: intensities by sequence, RAS+ axes, 0 outside the brain, shape (X, Y, Z).
        sequences: the network's S sequences, in its order.

    Returns:
        The image (1, S, x, y, z), zeros for a sequence that is absent; the box of the brain that it
        was cropped to; and the brain, bool (1, x, y, z).

    Raises:
        InputError: an image has no brain, or no contrast.
    """
    scores, box, brain = prepare(images)
    image = torch.zeros(1, len(sequences), *(side.stop - side.start for side in box))
    for channel, name in enumerate(sequences):
        if name in scores:
            image[0, channel] = torch.from_numpy(np.ascontiguousarray(scores[name]))
    return image, box, torch.from_numpy(brain)[None]


def presence(images: Mapping[str, Any], sequences: Sequence[str]) -> Tensor:
    """Which of the network's S sequences exist, shape (1, S)."""
    return torch.tensor([[name in images for name in sequences]])


def one_case(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Collate function for a loader with a batch size of one: cases differ in size."""
    return items[0]
