"""Sums of feature vectors by class, and similarities to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d, normalize, one_hot


def sums_by_image(maps: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the vectors of each class in each image, and how much of it there is.

    Args:
        maps: a vector per position, (B, D, h, w) or (B, D, x, y, z), coarser than the classes or
            as fine; a position counts for each class by its share of it.
        classes: (B, H, W) or (B, X, Y, Z), whole numbers.

    Returns:
        (B, K, D) and (B, K), of the maps' type.
    """
    areas = one_hot(classes).movedim(-1, 1).to(maps)
    sides = list(maps.shape[2:])
    if len(sides) == 2:
        averaged = adaptive_avg_pool2d(areas, (sides[0], sides[1]))
    else:
        averaged = adaptive_avg_pool3d(areas, (sides[0], sides[1], sides[2]))
    shares = averaged.flatten(2)
    return torch.einsum("bkn,bcn->bkc", shares, maps.flatten(2)), shares.sum(2)


def similarities_by_image(maps: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of each position's vector with the mean of each class in its own image.

    Args:
        maps: see :func:`sums_by_image`.
        classes: likewise.

    Returns:
        (B, K, positions), and which classes an image has, bool, (B, K).
    """
    sums, totals = sums_by_image(maps, classes)
    positions = normalize(maps.flatten(2), dim=1)
    return torch.einsum("bkc,bcn->bkn", normalize(sums, dim=2), positions), totals > 0


def similarities_in_batch(vectors: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of each sample's vector with the mean of each class in the batch.

    Args:
        vectors: (B, D).
        classes: (B,), whole numbers.

    Returns:
        (B, K, 1) for the K classes that occur, and True for all of them, (B, K).
    """
    members = one_hot(classes).to(vectors)
    members = members[:, members.any(0)]
    means = normalize(members.T @ vectors, dim=1)
    cosines = normalize(vectors, dim=1) @ means.T
    return cosines[..., None], torch.ones_like(cosines, dtype=torch.bool)
