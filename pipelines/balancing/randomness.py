"""Random draws that depend on a seed alone, and leave all other draws as they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .method import Run


def seeded(*numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Give a generator of its own to draws that must not disturb those of the data.

    Args:
        numbers: what the draws depend on, such as a seed, the epoch and the step.
        device: of the tensors that are drawn.
    """
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + int(number) + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


@contextmanager
def undisturbed(run: Run, seed: int) -> Iterator[None]:
    """Draw from a seed of one's own; random states and train/eval modes are restored afterwards."""
    modules = [*run.network.modules()]
    modules += [m for classifier in run.classifiers.values() for m in classifier.modules()]
    modes = [module.training for module in modules]
    states = random.getstate(), np.random.get_state()
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
