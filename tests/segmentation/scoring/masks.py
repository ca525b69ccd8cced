"""Masks for the scorer: random ones, and blocks put by hand."""

from __future__ import annotations

import numpy as np

SHAPE = (12, 14, 10)
Corner = tuple[int, int, int]


def blocks(*corners: tuple[Corner, Corner], shape: Corner = SHAPE) -> np.ndarray:
    """A mask of boxes, each from its first voxel to the one behind its last."""
    mask = np.zeros(shape, bool)
    for first, behind in corners:
        mask[tuple(slice(a, b) for a, b in zip(first, behind, strict=True))] = True
    return mask


def random_pair(seed: int, shape: Corner = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Two masks that agree in most voxels, scattered and not far from the border."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < rng.uniform(0.02, 0.5)
    prediction = truth ^ (rng.random(shape) < 0.1)
    truth[3, 4, 5] = prediction[3, 5, 5] = True
    return prediction, truth
