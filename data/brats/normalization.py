"""The brain of a case, its box, and intensities that are comparable between sequences.

Training (the slice store), evaluation and inference call `prepare`, so that a network never meets
intensities or a cropping that it was not trained on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from monai.transforms.intensity.array import NormalizeIntensity
from monai.transforms.utils import generate_spatial_bounding_box
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError

Box = tuple[slice, slice, slice]

_SPECK = 0.01  # of the largest part: smaller parts are no brain


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


def prepare(
    images: Mapping[str, NDArray[np.float32]], label: NDArray[np.uint8] | None = None
) -> tuple[dict[str, NDArray[np.float16]], Box, NDArray[np.bool_]]:
    """Bring the images of a case to the form in which every network sees it, in training too.

    Args:
        images: intensities by sequence, 0 outside the brain, all of shape (X, Y, Z).
        label: classes, shape (X, Y, Z); see `brain_and_box`.

    Returns:
        z-scores of each sequence in the box, 0 outside the brain and in specks beside it, in the
        precision in which slices are stored; the box; and the brain in it.

    Raises:
        InputError: an image has no brain, or no contrast.
    """
    brain, box = brain_and_box(images, label)
    inside = brain[box]
    scores = normalize({name: image[box] * inside for name, image in images.items()}, list(images))
    return {name: score.astype(np.float16) for name, score in scores.items()}, box, inside


def brain_and_box(
    images: Mapping[str, NDArray[np.float32]], label: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.bool_], Box]:
    """Find the brain and its box, as `find_brain` does, the box made large enough for the label.

    Args:
        images: one volume per sequence, all of shape (X, Y, Z).
        label: classes, shape (X, Y, Z); part of the box so that cropping never cuts a tumor.

    Returns:
        The brain, shape (X, Y, Z), and one slice per axis: `volume[box]` is the cropped volume.

    Raises:
        InputError: everything is zero.
    """
    brain, box = find_brain(_inside(images))
    return brain, box if label is None else _union(box, label)


def find_brain(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Box]:
    """Tell the brain from specks: voxels beside it that some program left behind.

    A morphological opening takes away single voxels, also those that touch the brain; of what is
    left, parts smaller than 1 % of the largest one are dropped; the surface that the opening took
    from the others is put back. So specks move neither the brain nor its box, and the brain found
    again in any crop that holds the box is the same.

    Args:
        inside: where any image is not 0, shape (X, Y, Z).

    Returns:
        The brain, shape (X, Y, Z), and its box: with a margin of one voxel along X and Y, where it
        decides how slices lie before the network; just the slices of the brain along Z.
    """
    crop = _box_of(inside)
    cropped = np.pad(inside[crop], 1)
    opened = np.asarray(ndimage.binary_opening(cropped), dtype=bool)
    if not opened.any():  # too thin to tell
        return inside, crop
    parts, count = ndimage.label(opened)  # type: ignore[misc]
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        opened = np.isin(parts, 1 + np.flatnonzero(sizes >= _SPECK * sizes.max()))
    surface = np.asarray(ndimage.binary_dilation(opened, np.ones((3, 3, 3))), dtype=bool)
    brain = np.zeros_like(inside)
    brain[crop] = (surface & cropped)[1:-1, 1:-1, 1:-1]
    core = [
        slice(max(part.start + side.start - 2, 0), min(part.stop + side.start, size))
        for part, side, size in zip(_box_of(opened), crop, inside.shape, strict=True)
    ]
    return brain, (core[0], core[1], _box_of(brain)[2])


def _inside(images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
    inside = np.zeros(next(iter(images.values())).shape, dtype=bool)
    for volume in images.values():
        inside |= volume != 0
    if not inside.any():
        raise InputError(f"all voxels of {', '.join(images)} are 0, so there is no brain to find")
    return inside


def _box_of(inside: NDArray[np.bool_]) -> Box:
    """The smallest box that holds every voxel of a mask."""
    start, stop = generate_spatial_bounding_box(inside[None], select_fn=lambda mask: mask)
    x, y, z = (slice(int(first), int(last)) for first, last in zip(start, stop, strict=True))
    return x, y, z


def _union(box: Box, label: NDArray[np.uint8]) -> Box:
    if not label.any():
        return box
    x, y, z = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(box, _box_of(label > 0), strict=True)
    )
    return x, y, z
