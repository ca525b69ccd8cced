"""The tissues that share each voxel: healthy ones, tumor, vessels, other lesions."""

from __future__ import annotations

import numpy as np

from .anatomy import Anatomy
from .grid import Array, Grid, random_field, smoothstep
from .tumor import ED, ET, NCR, Tumor, tissue_fractions
from .volumes import Mask, blurred, distance


def draw_compartments(rng: np.random.Generator, anatomy: Anatomy, tumor: Tumor) -> dict[str, Array]:
    """Share of every tissue of `physics.TISSUES` in each voxel; maps (X, Y, Z) that sum to 1."""
    grid = anatomy.grid
    healthy = tissue_fractions(tumor)
    soft = {label: _soften(tumor.labels == label, grid) for label in (NCR, ED, ET)}
    parts = _core(rng, grid, soft, tumor)
    parts["edema"] = _edema(rng, grid, soft[ED], tumor, healthy)
    parts["edema"] += _white_matter_lesions(rng, anatomy, healthy) * (1 - sum(soft.values()))
    vessels = _vessels(rng, anatomy, healthy[2])
    vessels *= 1 - 0.9 * (soft[NCR] + soft[ET])
    parts = {name: part * (1 - vessels) for name, part in parts.items()}
    rest = np.clip(1 - vessels - sum(parts.values()), 0, 1)
    parts |= {name: rest * healthy[k] for k, name in enumerate(("wm", "gm", "csf"))}
    parts["vessel"] = vessels
    return parts


def _soften(mask: Mask, grid: Grid) -> Array:
    """A label as a share of voxels: the border of a tissue cuts through them."""
    return blurred(mask, max(0.5, 0.9 / grid.spacing))


def _core(
    rng: np.random.Generator, grid: Grid, soft: dict[int, Array], tumor: Tumor
) -> dict[str, Array]:
    """Shares of enhancing, infiltrated, necrotic tissue and blood.

    In a low grade core all of the NCR label is solid tumor. Otherwise it is necrosis with solid
    parts, in some cases with blood, which is bright on T1 before the agent.
    """
    texture = random_field(rng, grid, 8.0)
    if tumor.plan.low_grade:
        fluid = 0.6 * smoothstep(texture + 0.5 * random_field(rng, grid, 5.0), 0.2, 2.0)
    else:
        fluid = smoothstep(texture + rng.uniform(0.2, 1.2), -0.8, 0.8)
    bleeding = 0.6 if rng.random() < 0.4 and not tumor.plan.low_grade else 0.0
    spots = smoothstep(random_field(rng, grid, 8.0), 0.7, 2.0)
    blood = bleeding * spots * (soft[NCR] + 0.5 * soft[ET])
    rest = np.clip(1 - blood, 0, 1)
    parts = {
        "blood": blood,
        "enhancing": soft[ET] * rest,
        "infiltrated": soft[NCR] * (1 - fluid) * rest,
        "necrosis": soft[NCR] * fluid * rest,
    }
    return {name: part.astype(np.float32) for name, part in parts.items()}


def _edema(
    rng: np.random.Generator, grid: Grid, soft: Array, tumor: Tumor, healthy: Array
) -> Array:
    """Share of edema: uneven inside its label, fading beyond it, little of it in cortex."""
    dense = np.clip(0.52 + 0.18 * tumor.edema, 0, 0.95)
    dense *= np.clip(1 + 0.18 * random_field(rng, grid, 9.0), 0.5, 1.3)
    beyond = 0.35 * smoothstep(tumor.edema, 0.2, 1.2) * (1 - soft)
    outside_core = 1 - _soften((tumor.labels == NCR) | (tumor.labels == ET), grid)
    if tumor.plan.kind.endswith("without edema"):
        beyond = 0.3 * smoothstep(tumor.cells, 0.02, 0.5)
    room = np.clip(healthy[0] + 0.6 * healthy[1], 0, 1)
    return np.clip(soft * dense * (0.4 + 0.6 * room) + beyond * room, 0, 1) * outside_core


def _white_matter_lesions(rng: np.random.Generator, anatomy: Anatomy, healthy: Array) -> Array:
    """Aging: bright caps of the ventricles and spots on FLAIR and T2 that no rater marks."""
    wm, _, csf = healthy
    grid, load = anatomy.grid, rng.uniform(0, 1)
    ventricles = (csf > 0.5) & (anatomy.depth > 24)
    near = np.exp(-distance(~ventricles, grid.spacing) / 4)
    caps = near * smoothstep(random_field(rng, grid, 16.0), 0.3 - load, 1.8 - load)
    spots = smoothstep(random_field(rng, grid, 6.0), 2.5 - 0.6 * load, 3.0 - 0.6 * load)
    deep = smoothstep(anatomy.depth, 8, 16)
    return (np.clip(0.7 * caps + 0.6 * spots * deep, 0, 0.75) * wm).astype(np.float32)


def _vessels(rng: np.random.Generator, anatomy: Anatomy, csf: Array) -> Array:
    """Share of blood vessels, dura and choroid plexus: they take up the agent and are no tumor.

    A vessel is where two random fields are both near zero, which is a winding line.
    """
    grid, depth = anatomy.grid, anatomy.depth
    width = 0.14 * max(1.0, grid.spacing / 2) ** 0.5
    veins = _lines(rng, grid, 11.0, width) * smoothstep(csf, 0.06, 0.35)
    deep = 0.35 * _lines(rng, grid, 22.0, 0.06) * smoothstep(depth, 6, 14)
    x, y, z = np.abs(anatomy.mni[0]), anatomy.mni[1], anatomy.mni[2]
    shell = smoothstep(5.0 - depth, 0, 3) * anatomy.mask
    sinus = np.exp(-((x / 4) ** 2)) * shell * ((z > 30) | (y < -75))
    sagging = np.abs(z + 0.4 * x + 0.3 * np.maximum(0, -45 - y))
    transverse = np.exp(-((sagging / 4) ** 2)) * shell * (y < -50)
    dura = smoothstep(3.0 - depth, 0, 2.5) * smoothstep(random_field(rng, grid, 10.0), 0.4, 1.8)
    falx = np.exp(-((x / 1.5) ** 2)) * smoothstep(csf, 0.2, 0.6) * (z > 5) * (depth < 40)
    plexus = (csf > 0.4) * smoothstep(depth, 24, 32) * _soft_spots(rng, grid)
    amounts = 0.9 * veins + 0.8 * sinus + 0.7 * transverse + 0.35 * dura + 0.25 * falx
    return (np.clip(amounts + deep + 0.5 * plexus, 0, 0.95) * anatomy.mask).astype(np.float32)


def _soft_spots(rng: np.random.Generator, grid: Grid) -> Array:
    """Scattered blobs of some 5 mm, in [0, 1]."""
    return smoothstep(random_field(rng, grid, 6.0), 1.0, 2.2)


def _lines(rng: np.random.Generator, grid: Grid, length: float, width: float) -> Array:
    """Winding lines of random strength, in [0, 1]."""
    first, second = random_field(rng, grid, length), random_field(rng, grid, length)
    strength = smoothstep(random_field(rng, grid, 20.0), -0.6, 1.2)
    return np.exp(-(first**2 + second**2) / (2 * width**2)) * strength
