"""The images that the scanner makes of the tissues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy
from .grid import Array, Grid, random_field
from .physics import (
    AGENT,
    AGENT_RIM,
    OTHER_PROTOCOL,
    PROTOCOL,
    Sequence,
    vary_protocol,
    vary_tissues,
)
from .volumes import blurred, moved_rigidly

QUIETER = {"flair": 1.0, "t1": 0.6, "t1ce": 0.6, "t2": 1.0}  # of that noise: T1 has the most signal
BLUR = {
    "flair": (0.5, 0.5, 1.6),
    "t1": (0.4, 0.4, 0.8),
    "t1ce": (0.4, 0.4, 0.6),
    "t2": (0.4, 0.4, 1.4),
}
# sd in mm of the point spread along L, P, S: FLAIR and T2 are acquired in thicker slices


@dataclass(frozen=True)
class Scanner:
    """What differs between hospitals.

    Attributes:
        protocol: timings by sequence, before each case's own variation.
        noise: standard deviation over the signal of white matter, range over cases.
        blur: factor of the point spread.
        bias: standard deviation of the logarithm of the coil's sensitivity.
    """

    protocol: Mapping[str, Sequence]
    noise: tuple[float, float]
    blur: float
    bias: float


USUAL = Scanner(PROTOCOL, noise=(0.02, 0.045), blur=1.0, bias=0.10)
OTHER = Scanner(OTHER_PROTOCOL, noise=(0.06, 0.10), blur=1.5, bias=0.25)

SHIFT, TILT = 0.5, 0.3  # mm and degrees (sd): what registration of the sequences leaves over
LARGEST = 30000  # of an int16 voxel


def scan(
    rng: np.random.Generator,
    anatomy: Anatomy,
    parts: dict[str, Array],
    *,
    aligned: bool = False,
    scanner: Scanner = USUAL,
) -> dict[str, NDArray[np.int16]]:
    """Images of all sequences, int16 (X, Y, Z), at least 1 in the brain and 0 outside.

    Compartments add in the signal domain (signed for FLAIR) before the magnitude. The agent is
    uneven in the rim, so its signal is interpolated between a weakly and a strongly filled one.

    Args:
        rng: of this case.
        anatomy: for the grid and the brain mask.
        parts: share of each tissue per voxel (X, Y, Z), from `draw_compartments`.
        aligned: let no small motion remain between the sequences.
        scanner: that makes them.
    """
    tissues, protocol = vary_tissues(rng), vary_protocol(rng, scanner.protocol)
    grid, noise = anatomy.grid, rng.uniform(*scanner.noise)
    low, high = rng.uniform(*AGENT_RIM) * np.array([0.6, 1.5])
    filling = _share_of_agent(rng, grid)
    images = {}
    for name in PROTOCOL:
        sequence, agent = protocol[name], name == "t1ce"
        total = np.zeros(grid.shape, np.float32)
        for tissue, share in parts.items():
            if agent and tissue == "enhancing":
                weak, strong = (sequence.signal(tissues[tissue].with_agent(c)) for c in (low, high))
                total += share * (weak + (strong - weak) * filling)
            else:
                amount = AGENT[tissue] if agent else 0.0
                total += share * np.float32(sequence.signal(tissues[tissue].with_agent(amount)))
        reference = abs(sequence.signal(tissues["wm"]))
        signal = _texture(rng, grid) * total / np.float32(reference)
        images[name] = _acquire(rng, anatomy, signal, name, noise * QUIETER[name], aligned, scanner)
    return images


def _share_of_agent(rng: np.random.Generator, grid: Grid) -> Array:
    """How full of agent the rim is, in [0, 1]: patches of some 5 mm."""
    return np.clip(0.5 + 0.33 * random_field(rng, grid, 5.0), 0, 1)


def _texture(rng: np.random.Generator, grid: Grid) -> Array:
    """Tissue is not uniform: 2.5 % variation over 5 mm."""
    return 1 + 0.025 * random_field(rng, grid, 5.0)


def _acquire(
    rng: np.random.Generator,
    anatomy: Anatomy,
    signal: Array,
    name: str,
    noise: float,
    aligned: bool,
    scanner: Scanner,
) -> NDArray[np.int16]:
    """Point spread, Rician noise, misregistration, coil bias, mask and the scanner's gain."""
    grid = anatomy.grid
    signal = blurred(signal, [scanner.blur * b / grid.spacing for b in BLUR[name]])
    real, imaginary = rng.standard_normal((2, *grid.shape), dtype=np.float32) * np.float32(noise)
    image = np.sqrt((signal + real) ** 2 + imaginary**2)
    if name != "t1" and not aligned:  # the others are registered to it
        image = _misregister(rng, grid, image)
    bias = np.exp(scanner.bias * random_field(rng, grid, 60.0))
    gain = 400 * float(np.exp(rng.normal(0, 0.45)))
    scaled = np.clip(np.rint(image * bias * np.float32(gain)), 1, LARGEST)
    return np.where(anatomy.mask, scaled, 0).astype(np.int16)


def _misregister(rng: np.random.Generator, grid: Grid, image: Array) -> Array:
    """The image under a small random rigid motion, linear interpolation."""
    a, b, c = np.deg2rad(np.clip(rng.normal(0, TILT, 3), -1, 1))
    turn = np.eye(3) + np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])  # small angles
    shift = np.clip(rng.normal(0, SHIFT, 3), -1.2, 1.2) / grid.spacing
    center = (np.array(grid.shape) - 1) / 2
    return moved_rigidly(image, turn, center - turn @ center + shift)
