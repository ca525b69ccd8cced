"""A synthetic case before any preparation: with skull and scalp, each sequence on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from .cases import make_case
from .grid import Array, output_grid
from .volumes import Mask, blurred, distance

# Signal relative to the mean of the brain, from the inside to the outside; "chosen", as it looks.
LAYERS = {
    "flair": (0.15, 0.08, 0.75),
    "t1": (0.40, 0.10, 1.50),
    "t1ce": (0.40, 0.10, 1.50),
    "t2": (1.80, 0.10, 0.90),
}
EDGES = (2.0, 8.0, 15.0)  # mm from the brain: liquor, bone and scalp end here
MARGIN = 24.0  # mm of air around the frame of BraTS
AIR = 0.015  # noise there, relative to the brain


@dataclass(frozen=True, eq=False)
class Head:
    """What the scanner sees of one case; arrays (X, Y, Z) on one grid.

    Attributes:
        images: float32 by sequence, no motion between them.
        labels: of the tumor, uint8, codes of BraTS 2021.
        brain: bool.
        affine: voxel to RAS mm, (4, 4).
    """

    images: dict[str, Array]
    labels: NDArray[np.uint8]
    brain: Mask
    affine: NDArray[np.float64]


def make_head(seed: int, index: int, spacing: float) -> Head:
    """Simulate a case of `make_case` with liquor, bone, scalp and noise around its brain.

    Args:
        seed: see `make_case`, as are the others.
        index: likewise.
        spacing: likewise.
    """
    with threadpool_limits(1):  # see `write_case`
        arrays, _ = make_case(seed, index, spacing, aligned=True)
    labels = arrays.pop("seg").astype(np.uint8)
    margin = int(np.ceil(MARGIN / spacing))
    affine = output_grid(spacing).affine()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, margin)
    brain = np.pad(arrays["t1"] > 0, margin)
    outside = distance(~brain, spacing)
    rng = np.random.default_rng([seed, index, 4])
    images = {
        name: _with_layers(rng, np.pad(image, margin).astype(np.float32), brain, outside, name)
        for name, image in arrays.items()
    }
    return Head(images, np.pad(labels, margin), brain, affine)


def _with_layers(
    rng: np.random.Generator, image: Array, brain: Mask, outside: Array, name: str
) -> Array:
    """An image of the brain with the layers around it, by their distance in mm."""
    level = float(image[brain].mean())
    around = np.zeros_like(image)
    for signal, edge in reversed(list(zip(LAYERS[name], EDGES, strict=True))):
        around[outside <= edge] = signal * level
    texture = 1 + 0.8 * blurred(rng.standard_normal(image.shape, dtype=np.float32), 2)
    head = np.where(brain, image, blurred((around * texture).astype(np.float32), 0.6))
    real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32) * (AIR * level)
    noisy = np.sqrt((head + real) ** 2 + imaginary**2)
    return np.where(brain, image, noisy).astype(np.float32)


def rigid_motion(degrees: Sequence[float], mm: Sequence[float]) -> NDArray[np.float64]:
    """The motion of a head, RAS mm to RAS mm, (4, 4).

    Args:
        degrees: turn about the axes to the right, the front and the top, in this order.
        mm: shift along them.
    """
    motion = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        motion[:3, :3] = turn @ motion[:3, :3]
    motion[:3, 3] = mm
    return motion


def scanned(
    values: NDArray[np.generic],
    affine: NDArray[np.float64],
    shape: Sequence[int],
    onto: NDArray[np.float64],
    motion: NDArray[np.float64] | None = None,
) -> Array:
    """A volume as another scan sees it: on another grid, after a motion of the head.

    Thick slices are means over their thickness.

    Args:
        values: (X, Y, Z).
        affine: voxel of `values` to RAS mm, (4, 4).
        shape: of the scan.
        onto: voxel of the scan to RAS mm, (4, 4).
        motion: where a point of the head has gone, from `rigid_motion`.

    Returns:
        float32 of that shape, 0 where there is nothing.
    """
    sizes = np.linalg.norm(onto[:3, :3], axis=0)
    parts = np.maximum(1, np.rint(sizes / np.linalg.norm(affine[:3, :3], axis=0).min())).astype(int)
    back = np.linalg.inv(affine) @ np.linalg.inv(np.eye(4) if motion is None else motion) @ onto
    total = np.zeros(tuple(shape), np.float32)
    for part in np.ndindex(*parts):
        shift = (np.array(part) + 0.5) / parts - 0.5
        start = back[:3, 3] + back[:3, :3] @ shift
        total += ndimage.affine_transform(
            np.asarray(values, np.float32), back[:3, :3], start, tuple(shape), order=1
        )
    return total / float(parts.prod())
