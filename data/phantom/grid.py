"""The voxels of a synthetic case, and smooth random fields on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME = (240, 240, 155)  # voxels of 1 mm: the frame of every BraTS image
BRAIN_WINDOW = (168.0, 200.0)  # mm in x and y that hold any brain; the simulation runs only there
FINEST, COARSEST = 1.0, 4.0  # mm


@dataclass(frozen=True)
class Grid:
    """Voxel grid, axes to the left, posterior and superior as in BraTS files.

    The origin of its millimeters is the center of the BraTS frame, so that grids of different
    spacing show the same brain.

    Attributes:
        shape: voxels per axis.
        spacing: edge of a voxel in mm.
    """

    shape: tuple[int, int, int]
    spacing: float

    def axes(self) -> tuple[Array, Array, Array]:
        """Millimeters of the voxel centers along L, P and S; shapes (X,), (Y,) and (Z,)."""
        x, y, z = (
            ((np.arange(n) - (n - 1) / 2) * self.spacing).astype(np.float32) for n in self.shape
        )
        return x, y, z

    def affine(self) -> NDArray[np.float64]:
        """Voxel index to RAS mm, (4, 4): with 1 mm exactly diag(-1, -1, 1), origin (0, 239, 0)."""
        step = np.array([-self.spacing, -self.spacing, self.spacing])
        center = np.array([-119.5, 119.5, 77.0])  # of the BraTS frame
        affine = np.diag([*step, 1.0])
        affine[:3, 3] = center - step * (np.array(self.shape) - 1) / 2
        return affine

    def window(self) -> tuple[Grid, tuple[slice, slice, slice]]:
        """The smaller grid that holds the brain, and where it lies in this one."""
        margins = [
            max(0, int((n * self.spacing - brain) / 2 / self.spacing))
            for n, brain in zip(self.shape[:2], BRAIN_WINDOW, strict=True)
        ]
        x, y = (slice(m, n - m) for m, n in zip(margins, self.shape[:2], strict=True))
        inner = (x.stop - x.start, y.stop - y.start, self.shape[2])
        return Grid(inner, self.spacing), (x, y, slice(0, self.shape[2]))


def output_grid(spacing: float) -> Grid:
    """Grid of the written files: 240 x 240 x 155 at 1 mm, else 192 x 240 x 156 mm.

    In-plane sizes are multiples of 4 (2 mm: 96 x 120 x 78).
    """
    if spacing == FINEST:
        return Grid(FRAME, spacing)
    x, y = (4 * int(np.ceil(extent / spacing / 4 - 1e-6)) for extent in (192, 240))
    return Grid((x, y, int(np.ceil(156 / spacing - 1e-6))), spacing)


def random_field(rng: np.random.Generator, grid: Grid, length: float) -> Array:
    """Smooth Gaussian random field with mean 0 and standard deviation 1.

    Normal numbers on a lattice of `length` mm are the coefficients of a cubic B-spline. The lattice
    depends on the frame and not on the grid, so a seed gives the same field at every spacing.

    Args:
        rng: source of the lattice.
        grid: where the field is wanted.
        length: lattice constant in mm, about the correlation length.

    Returns:
        Field of shape `grid.shape`, float32.
    """
    half = (BRAIN_WINDOW[0] / 2 + 8, BRAIN_WINDOW[1] / 2 + 8, 84.0)
    lattice = [int(np.ceil(2 * h / length)) + 4 for h in half]
    field = rng.standard_normal(lattice, dtype=np.float32)
    for axis, (positions, h, n) in enumerate(zip(grid.axes(), half, lattice, strict=True)):
        basis = _spline_basis((positions + h) / length, n)
        field = np.moveaxis(np.tensordot(basis, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field, dtype=np.float32)


def _spline_basis(positions: Array, coefficients: int) -> Array:
    """Cubic B-spline weights, (N, coefficients), scaled so that the sum of N(0, 1) has sd 1."""
    first = np.clip(np.floor(positions).astype(int), 0, coefficients - 4)
    t = positions - first
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    basis = np.zeros((len(positions), coefficients), dtype=np.float32)
    for k, weight in enumerate(weights):
        basis[np.arange(len(positions)), first + k] = weight
    return basis / np.linalg.norm(basis, axis=1, keepdims=True)


def smoothstep(values: NDArray[np.floating], low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, a smooth ramp between; any shape."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
