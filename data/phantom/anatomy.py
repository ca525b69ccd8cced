"""The healthy brain of a synthetic subject.

The tissue maps are those of the ICBM152 2009a symmetric template (Fonov et al. 2011, NeuroImage
54:313) that the nilearn package carries; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .grid import Array, Grid, random_field
from .volumes import Mask, blurred, distance, largest_piece, sampled

# The ICBM152 brain (1.9 l inside its mask) is larger than a typical one: shrink it.
MEAN_SCALE = 0.93
TEMPLATE_CENTER = (0.0, -17.0, 6.0)  # MNI mm of the middle of the brain's bounding box


@dataclass
class Template:
    """ICBM152 maps in RAS voxel order, each (197, 233, 189) at 1 mm, in [0, 1]."""

    gm: Array
    wm: Array
    mask: Array
    to_voxel: NDArray[np.float64]  # MNI mm to voxel index, (4, 4)


@dataclass
class Anatomy:
    """One subject without a tumor; every array has the shape of `grid`.

    Attributes:
        grid: voxels of the simulation.
        evidence: log-odds of WM, GM, CSF before sharpening, (3, X, Y, Z).
        mask: brain, bool.
        mni: MNI coordinates of each voxel in mm, (3, X, Y, Z).
        depth: distance to the brain surface in mm, 0 outside.
    """

    grid: Grid
    evidence: Array
    mask: Mask
    mni: Array
    depth: Array

    def fractions(self) -> Array:
        """Shares of WM, GM and CSF in each voxel, (3, X, Y, Z), sum 1."""
        return shares(self.evidence)


def shares(evidence: Array) -> Array:
    """Softmax over the first axis: log-odds of tissues to volume fractions."""
    exponent = np.exp(evidence - evidence.max(0))
    return (exponent / exponent.sum(0)).astype(np.float32)


@lru_cache(maxsize=2)
def load_template(blur: float) -> Template:
    """The template, smoothed by a Gaussian of `blur` mm against aliasing on coarse grids."""
    # Here and not above: importing nilearn takes two seconds that a finished folder need not pay.
    from nilearn.datasets import (
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    t1 = load_mni152_template(resolution=1)
    gm, wm = load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)
    maps = [np.asarray(image.get_fdata(dtype=np.float32)) for image in (gm, wm, t1)]
    maps[2] = (maps[2] > 0).astype(np.float32)
    gm, wm, mask = (blurred(m, blur) if blur else m for m in maps)
    return Template(gm, wm, mask, np.linalg.inv(t1.affine))


def draw_anatomy(rng: np.random.Generator, grid: Grid) -> Anatomy:
    """A new subject: the template under a random affine and a smooth random warp.

    The averaged maps are then made individual: random fields on the log-odds decide where a
    sulcus or a gyrus of the average is realized, and sharpening gives it an edge. A global CSF
    offset stands for atrophy.
    """
    mni = _subject_to_mni(rng, grid)
    template = load_template(round(0.3 * grid.spacing, 3) if grid.spacing > 1 else 0.0)
    offset = template.to_voxel[:3, 3].astype(np.float32)
    voxels = mni + offset[:, None, None, None]  # the template has 1 mm voxels along RAS
    gm, wm, inside = (sampled(m, voxels) for m in (template.gm, template.wm, template.mask))
    mask = largest_piece(inside > 0.5)
    depth = distance(mask, grid.spacing)
    csf = np.clip(inside - gm - wm, 0, 1)
    evidence = _individual_evidence(rng, grid, np.stack([wm, gm, csf]))
    return Anatomy(grid, evidence, mask, mni, depth)


def _individual_evidence(rng: np.random.Generator, grid: Grid, average: Array) -> Array:
    """Log-odds (3, X, Y, Z) of one subject from the averaged probabilities (3, X, Y, Z)."""
    evidence = np.log(average + 0.02)
    atrophy = rng.uniform(-0.1, 0.6)
    evidence[2] += atrophy + 0.45 * random_field(rng, grid, 7.0)
    evidence[1] += 0.35 * random_field(rng, grid, 6.0)
    return (2.2 * evidence).astype(np.float32)


def _subject_to_mni(rng: np.random.Generator, grid: Grid) -> Array:
    """MNI mm of every voxel, (3, X, Y, Z): rotation, anisotropic scale, warp, random flip."""
    angles = np.deg2rad(np.clip(rng.normal(0, 3, 3), -6, 6))
    scale = MEAN_SCALE * np.clip(rng.normal(1, 0.035, 3), 0.93, 1.06)
    flip = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    matrix = (flip[:, None] * _rotation(angles)) / scale[None, :]
    left, posterior, superior = grid.axes()
    x, y, z = -left[:, None, None], -posterior[None, :, None], superior[None, None, :]
    coordinates = np.empty((3, *grid.shape), dtype=np.float32)
    for axis in range(3):
        a, b, c = matrix[axis].astype(np.float32)
        coordinates[axis] = a * x + b * y + c * z + np.float32(TEMPLATE_CENTER[axis])
        coordinates[axis] += 3.0 * random_field(rng, grid, 32.0)
        coordinates[axis] += 1.0 * random_field(rng, grid, 14.0)
    return coordinates


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) about x, then y, then z; angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def infratentorial(mni: Array) -> Mask:
    """Cerebellum and brain stem by planes in MNI space (chosen by eye on the template)."""
    x, y, z = np.abs(mni[0]), mni[1], mni[2]
    below_tentorium = (y < -30) & (z < -0.4 * x - 0.3 * np.maximum(0, -45 - y))
    stem = (z < -10) & (x < 20) & (y < -8)
    return below_tentorium | stem
