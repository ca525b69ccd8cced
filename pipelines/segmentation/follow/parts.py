"""The connected parts of a mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_NEIGHBORS_26 = ndimage.generate_binary_structure(3, 3)


def connected_parts(mask: np.ndarray) -> Iterator[NDArray[np.intp]]:
    """Give the indices (N, 3) of the voxels of each part of a mask (X, Y, Z), by 26 neighbors."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, _NEIGHBORS_26, output=numbers)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        yield np.argwhere(numbers[box] == number) + [side.start for side in box]
