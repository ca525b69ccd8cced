"""Generated data with a known imbalance, or known to have none, to judge the advice by."""

from __future__ import annotations

import numpy as np
import torch

from .samples import Samples

KINDS = ("late", "heart", "noise", "duplicate", "complementary")
CLASSES = 6
BASIS, SAMPLES = 0, 1  # streams of draws: of the world, and of the samples in it


def draw(kind: str, count: int, *, world: int, part: int = 0) -> Samples:
    """Draw samples of two modalities, "first" and "second".

    Both tell of six classes by noisy evidence, in directions that are no axes.

    - "late": "second" tells more, but behind the product of two signs, which a network learns
      late; "first" tells less, at once, beside 100 directions of noise.
    - "heart": the same with a "first" that tells almost nothing beside 300 directions of noise,
      enough to learn the training samples by heart.
    - "noise": "second" tells nothing.
    - "duplicate": "second" tells what "first" does, with the same noise.
    - "complementary": both tell as much, each with noise of its own.

    Args:
        kind: one of :data:`KINDS`.
        count: samples.
        world: seed of the directions, which training and test samples share.
        part: which samples of this world; others are other draws.
    """
    world_draws = np.random.default_rng([world, BASIS])
    draws = np.random.default_rng([world, SAMPLES, part])
    labels = draws.integers(0, CLASSES, count)

    def evidence(strength: float) -> np.ndarray:
        return strength * np.eye(CLASSES)[labels] + draws.normal(size=(count, CLASSES))

    def late(strength: float) -> np.ndarray:
        signs = draws.choice([-1.0, 1.0], (count, 2))
        return np.c_[evidence(strength) * signs.prod(1, keepdims=True), 2 * signs]

    def beside(strength: float, noise: int) -> np.ndarray:
        return np.c_[evidence(strength), draws.normal(size=(count, noise))]

    plain = evidence(2.2)
    first, second = {
        "late": lambda: (beside(2.0, 100), late(2.5)),
        "heart": lambda: (beside(0.7, 300), late(2.7)),
        "noise": lambda: (plain, draws.normal(size=plain.shape)),
        "duplicate": lambda: (plain, plain),
        "complementary": lambda: (plain, evidence(2.2)),
    }[kind]()
    inputs = {
        name: torch.from_numpy(_turned(values, world_draws, draws))
        for name, values in (("first", first), ("second", second))
    }
    ids = tuple(map(str, range(count)))
    digest = f"{kind}, {count} samples, world {world}, part {part}"
    return Samples(f"generated: {kind}", inputs, torch.from_numpy(labels), ids, CLASSES, digest)


def _turned(
    values: np.ndarray, world_draws: np.random.Generator, draws: np.random.Generator
) -> np.ndarray:
    """In at least 16 directions that are no axes, with a little noise."""
    width = max(16, values.shape[1])
    basis = np.linalg.qr(world_draws.normal(size=(width, width)))[0][: values.shape[1]]
    noise = draws.normal(0, 0.1, (len(values), width))
    return (values @ basis + noise).astype(np.float32)
