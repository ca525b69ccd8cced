"""The box of the brain, and intensities that are comparable between sequences.

Training (the slice store) and inference call the same two functions, so that a network never meets
intensities or a cropping that it was not trained on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from monai.transforms.intensity.array import NormalizeIntensity
from monai.transforms.utils import generate_spatial_bounding_box
from numpy.typing import NDArray

from ..errors import InputError


class BrainStatistics(NamedTuple):
    """Mean and standard deviation of one sequence over its non-zero voxels."""

    mean: float
    std: float


def brain_statistics(image: NDArray[np.float32], sequence: str) -> BrainStatistics:
    """Measure one sequence over the brain, which in skull-stripped data is every non-zero voxel.

    Sums are of double precision: those of MONAI, in single precision, move some z-scores.

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
    return BrainStatistics(mean, std)


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
    statistics = [brain_statistics(images[name], name) for name in sequences]
    standardize = NormalizeIntensity(
        subtrahend=[part.mean for part in statistics],
        divisor=[part.std for part in statistics],
        nonzero=True,
        channel_wise=True,
    )
    scores = standardize(np.stack([images[name] for name in sequences]))
    return dict(zip(sequences, np.asarray(scores), strict=True))


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
    start, stop = generate_spatial_bounding_box(inside[None], select_fn=lambda mask: mask)
    x, y, z = (slice(int(first), int(last)) for first, last in zip(start, stop, strict=True))
    return x, y, z
