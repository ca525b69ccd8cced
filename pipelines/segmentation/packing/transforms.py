"""MONAI transforms of a packed bundle: z-scores before the network, small ET after it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ....data.brats.nifti import volume_of_arrays
from ....data.errors import InputError
from ..case_dataset import network_input
from ..small_enhancing import drop_small_et

# The z-score of a voxel of the brain that is exactly at the mean of every sequence: not 0, which
# is outside of the brain, and too little to matter to a network.
_AT_THE_MEAN = 1e-12


class NormalizeSequencesd(MapTransform):
    """Check and standardize the sequences of a patient as in training, on the grid they lie on.

    A channel that is 0 everywhere counts as an absent sequence and stays 0.

    Args:
        keys: of images (S, X, Y, Z) along RAS+ axes with an affine, 0 outside the brain.
        sequences: names of their S channels, in the network's order.
    """

    def __init__(self, keys: KeysCollection, sequences: Sequence[str]) -> None:
        super().__init__(keys)
        self.sequences = tuple(sequences)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace images by z-scores, float32 (S, X, Y, Z), 0 outside the brain.

        Raises:
            InputError: the channels are not the network's sequences, or an image cannot be used.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image: MetaTensor = result[key]
            result[key] = MetaTensor(self._normalized(image)).copy_meta_from(image)
        return result

    def _normalized(self, image: MetaTensor) -> torch.Tensor:
        names, channels = self.sequences, image.numpy()
        if channels.ndim != 4 or len(channels) != len(names):
            raise InputError(
                f"the image has shape {tuple(channels.shape)}; expected {len(names)} channels "
                f"({', '.join(names)}) and three axes: give one 4D file with these volumes, or a "
                "list of files in this order"
            )
        images = {name: c for name, c in zip(names, channels, strict=True) if np.any(c)}
        if not images:
            raise InputError(f"all of {', '.join(names)} are 0 everywhere: give one or more")
        volume = volume_of_arrays(images, np.asarray(image.affine))
        scores, box, brain = network_input(volume.images, names)
        first = names.index(next(iter(images)))
        scores[0, first][brain[0] & ~scores[0].any(0)] = _AT_THE_MEAN
        whole = torch.zeros(channels.shape)
        whole[(slice(None), *box)] = scores[0]
        return whole


class DropSmallETd(MapTransform):
    """Count ET as NCR where all of it together is too small, see :func:`.drop_small_et`.

    Args:
        keys: of class numbers of one case.
        smallest_ml: what is kept has at least this volume, in milliliters.
        image_key: of the image, whose affine tells the size of a voxel.
    """

    def __init__(
        self, keys: KeysCollection, smallest_ml: float, image_key: Hashable = "image"
    ) -> None:
        super().__init__(keys)
        self.smallest_ml = smallest_ml
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change class numbers of any shape."""
        result = dict(data)
        axes = np.asarray(result[self.image_key].affine)[:3, :3]
        voxel_ml = abs(float(np.linalg.det(axes))) / 1000
        for key in self.key_iterator(result):
            result[key] = result[key].clone()
            drop_small_et(result[key], voxel_ml, self.smallest_ml)
        return result
