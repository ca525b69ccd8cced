"""Where is the brain, and what are its intensities once every sequence is comparable?

Training (the slice store) and inference call the same two functions, so that a network never meets
intensities or a cropping that it was not trained on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


class BrainStatistics(NamedTuple):
    """Mean and standard deviation of one sequence over its `voxels` non-zero voxels."""

    mean: float
    std: float
    voxels: int


def brain_statistics(image: NDArray[np.float32], sequence: str) -> BrainStatistics:
    """Measure one sequence over the brain, which in skull-stripped data is every non-zero voxel.

    Args:
        image: intensities of any unit, exactly 0 outside the brain, shape (X, Y, Z).
        sequence: name of the sequence, for the error message.

    Raises:
        InputError: the image is zero everywhere, or has one value only and so carries no contrast.
    """
    brain = image[image != 0]
    if brain.size == 0:
        raise InputError(
            f"{sequence}: all {image.size} voxels are 0, so there is no brain to normalize over; "
            "is the file empty, or was the wrong file taken for this sequence?"
        )
    mean, std = float(brain.mean(dtype=np.float64)), float(brain.std(dtype=np.float64))
    if std <= 1e-6 * abs(mean):
        raise InputError(
            f"{sequence}: all {brain.size} non-zero voxels have the value {mean:g}; expected an "
            "image with contrast; is the file a mask?"
        )
    return BrainStatistics(mean, std, int(brain.size))


def standardize(image: NDArray[np.float32], statistics: BrainStatistics) -> NDArray[np.float32]:
    """Give the non-zero voxels of `image` mean 0 and deviation 1; zeros stay exactly 0."""
    scores = (image - np.float32(statistics.mean)) / np.float32(statistics.std)
    return np.where(image != 0, scores, np.float32(0))


def normalize(
    images: Mapping[str, NDArray[np.float32]], sequences: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Standardize each sequence over the brain: z-scores inside, 0 outside.

    Args:
        images: one volume per sequence, shape (X, Y, Z), 0 outside the brain.
        sequences: names of the sequences wanted; keys of the result, in this order.

    Raises:
        InputError: a sequence is not among `images`, or has no contrast.

    >>> image = np.array([[[0.0, 1.0, 3.0]]], dtype=np.float32)
    >>> normalize({"t1": image}, ["t1"])["t1"].tolist()
    [[[0.0, -1.0, 1.0]]]
    """
    missing = [name for name in sequences if name not in images]
    if missing:
        raise InputError(f"no image of {', '.join(missing)}; there are {', '.join(images)}")
    return {
        name: standardize(images[name], brain_statistics(images[name], name)) for name in sequences
    }


def brain_box(
    images: Mapping[str, NDArray[np.float32]], label: NDArray[np.uint8] | None = None
) -> tuple[slice, slice, slice]:
    """Find the smallest box that holds every non-zero voxel of every image and of the label.

    Args:
        images: one volume per sequence, all of shape (X, Y, Z).
        label: classes, shape (X, Y, Z); part of the box so that cropping never cuts a tumor.

    Returns:
        One slice per axis; `volume[brain_box(...)]` is the cropped volume.

    Raises:
        InputError: everything is zero.
    """
    volumes = [*images.values()] if label is None else [*images.values(), label]
    inside = np.zeros(volumes[0].shape, dtype=bool)
    for volume in volumes:
        inside |= volume != 0
    if not inside.any():
        raise InputError(f"all voxels of {', '.join(images)} are 0, so there is no brain to find")
    spans = (np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    x, y, z = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return x, y, z
