"""The spread of tumor cells and edema fluid through the white matter.

Cells follow the Fisher-KPP reaction-diffusion equation, u' = div(D grad u) + rho u (1 - u), the
usual macroscopic model of glioma growth (Swanson et al. 2000, Cell Prolif 33:317; the ratio of
D in white to grey matter is theirs in order of magnitude, the values here are chosen). Edema
leaks from the tumor and is taken up again, e' = div(D grad e) + core - e / tau, which gives the
finger-like spread along white matter that spares the cortex.
"""

from __future__ import annotations

import numpy as np

from .grid import Array

GREY_TO_WHITE = 0.1  # D in grey matter over D in white matter
CELL_DIFFUSION = 0.13  # mm^2 per day in white matter (chosen)
CELL_GROWTH = 0.03  # per day (chosen)
MAX_STEPS = 600
EDEMA_STEPS, MOMENTUM = 110, 0.85  # heavy ball: the steady state in a sixth of the plain steps


def diffusivity(fractions: Array, texture: Array) -> Array:
    """Relative D per voxel in [0, 2]: 1 in white matter, 0.1 in grey, 0 in CSF.

    Args:
        fractions: shares of WM, GM, CSF, (3, X, Y, Z).
        texture: logarithm of a factor (X, Y, Z) that makes the front uneven.
    """
    wm, gm, csf = fractions
    tissue = (wm + GREY_TO_WHITE * gm) * np.clip(1 - 2 * csf, 0, 1)
    return np.clip(tissue * np.exp(texture), 0, 2).astype(np.float32)


def _faces(relative: Array, active: Array) -> list[Array]:
    """Conductance of the faces between neighbors along each axis (harmonic mean)."""
    d = relative * active
    faces = []
    for axis in range(3):
        low, high = _neighbors(d, axis)
        faces.append(2 * low * high / (low + high + 1e-6))
    return faces


def _neighbors(values: Array, axis: int) -> tuple[Array, Array]:
    """Views of all voxels but the last, and all but the first, along one axis."""
    low = [slice(None)] * 3
    high = [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return values[tuple(low)], values[tuple(high)]


def _divergence(values: Array, faces: list[Array]) -> Array:
    """Discrete div(D grad values) in units of D per voxel edge squared; no flux at the border."""
    change = np.zeros_like(values)
    for axis, face in enumerate(faces):
        low, high = _neighbors(values, axis)
        flux = face * (high - low)
        into_low, into_high = _neighbors(change, axis)
        into_low += flux
        into_high -= flux
    return change


def grow_cells(
    seed: tuple[int, int, int],
    relative: Array,
    birth: Array,
    active: Array,
    spacing: float,
    volume: float,
) -> Array:
    """Cell density in [0, 1] once the part above one half has reached `volume` ml.

    Growth also ends after `MAX_STEPS` steps, when CSF shuts the tumor in.

    Args:
        seed: voxel of the first cells.
        relative: relative diffusivity (X, Y, Z).
        birth: relative growth rate (X, Y, Z).
        active: 1 where cells may go, 0 elsewhere (X, Y, Z).
        spacing: voxel edge in mm.
        volume: ml.
    """
    faces = _faces(relative, active)
    step = 0.9 * spacing**2 / (6 * CELL_DIFFUSION * max(1.0, float(relative.max())))  # days
    step = min(step, 4.0)
    rate = np.float32(step * CELL_DIFFUSION / spacing**2)
    growth = (np.float32(step * CELL_GROWTH) * birth).astype(np.float32)
    u = np.zeros_like(relative)
    u[tuple(slice(max(0, i - 1), i + 2) for i in seed)] = 1.0
    u *= active
    wanted = volume * 1000 / spacing**3  # voxels
    for k in range(MAX_STEPS):
        if k % 4 == 0 and np.count_nonzero(u > 0.5) >= wanted:
            break
        u += rate * _divergence(u, faces) + growth * u * (1 - u)
    return u


def spread_edema(
    core: Array, relative: Array, active: Array, spacing: float, reach: float
) -> Array:
    """Steady edema density: 1 in the core, decaying over `reach` mm of white matter.

    Args:
        core: tumor core as 0 or 1 (X, Y, Z); the source.
        relative: relative diffusivity (X, Y, Z).
        active: 1 where fluid may go, 0 elsewhere (X, Y, Z).
        spacing: voxel edge in mm.
        reach: decay length in white matter, mm.
    """
    faces = _faces(relative, active)
    rate = np.float32(0.9 / (6 * max(1.0, float(relative.max()))))
    uptake = rate * np.float32((spacing / reach) ** 2)
    e = core.astype(np.float32)
    before = e
    for _ in range(EDEMA_STEPS):
        ahead = e + rate * _divergence(e, faces) - uptake * e + MOMENTUM * (e - before)
        before, e = e, np.maximum(ahead, core)
    return np.minimum(e, 1)
