"""The glioma of a synthetic subject: core, rim and edema."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, infratentorial, shares
from .grid import Array, Grid, random_field, smoothstep
from .growth import diffusivity, grow_cells, spread_edema
from .volumes import Mask, blurred, distance, largest_piece, sampled, touching, voxel_indices

NCR, ED, ET = 1, 2, 4  # label values of BraTS 2018 to 2021

# Twelve cases hold each kind as often as it stands here; blocks of twelve are shuffled.
KINDS = (
    *["ring"] * 6,  # necrosis, enhancing rim, edema
    "ring without edema",
    "solid",  # enhances throughout, no necrosis
    "low grade",  # no enhancement
    "low grade",
    "low grade without edema",
    "low grade with a spot",  # a small enhancing part
)
BOX = 56.0  # mm around the seed that the growth may use


@dataclass(frozen=True)
class Plan:
    """What is drawn for a tumor before it grows; lengths in mm, volumes in ml."""

    kind: str
    core_ml: float
    edema_ml: float
    edema_reach: float
    rim: float
    push: float

    @property
    def radius(self) -> float:
        """Radius in mm of a sphere as large as the core."""
        return (self.core_ml * 750 / np.pi) ** (1 / 3)

    def grown(self, size: float) -> Plan:
        """The same tumor at another date, `size` times as large."""
        return replace(self, core_ml=self.core_ml * size, edema_ml=self.edema_ml * size)

    @property
    def low_grade(self) -> bool:
        """Whether the core does not enhance (but for a spot)."""
        return self.kind.startswith("low grade")


@dataclass
class Tumor:
    """A grown tumor on the grid of its anatomy.

    Attributes:
        plan: what was drawn.
        evidence: log-odds of WM, GM, CSF after the tumor pushed them, (3, X, Y, Z).
        labels: 0, NCR, ED or ET, uint8 (X, Y, Z).
        edema: density of edema fluid, 0 outside, about 1 at the core, (X, Y, Z).
        cells: tumor cell density in [0, 1], (X, Y, Z).
    """

    plan: Plan
    evidence: Array
    labels: NDArray[np.uint8]
    edema: Array
    cells: Array


def draw_kind(seed: int, index: int) -> str:
    """Kind of case `index`: the same whatever the number of cases."""
    block, place = divmod(index, len(KINDS))
    order = np.random.default_rng([seed, block, 99]).permutation(len(KINDS))
    return KINDS[order[place]]


def draw_plan(rng: np.random.Generator, kind: str) -> Plan:
    """Size, edema, rim and push of a tumor; the whole tumor aims at 12 to 140 ml."""
    whole = float(np.exp(rng.uniform(np.log(12), np.log(140))))
    core = float(rng.uniform(0.18, 0.5))
    if kind.startswith("low grade"):
        whole, core = min(whole, 100.0), float(rng.uniform(0.5, 0.75))
    if kind.endswith("without edema"):
        whole, core = min(whole, 60.0), 1.0
    radius = (whole * core * 750 / np.pi) ** (1 / 3)  # mm, of a sphere as large as the core
    return Plan(
        kind=kind,
        core_ml=whole * core,
        edema_ml=whole * (1 - core),
        edema_reach=float(rng.uniform(10, 18)),
        rim=60.0 if kind == "solid" else float(rng.uniform(2.2, 5.0)),
        push=float(min(rng.uniform(0.05, 0.4) * radius, 8.0)),
    )


def grow_tumor(rng: np.random.Generator, anatomy: Anatomy, plan: Plan, size: float = 1.0) -> Tumor:
    """Seed, growth, edema, mass effect and labels, computed on a box around the seed.

    Args:
        rng: of this case.
        anatomy: where it grows.
        plan: what was drawn.
        size: of the tumor, as a multiple of its plan; it begins at the same voxel.
    """
    grid, fractions = anatomy.grid, anatomy.fractions()
    allowed = anatomy.mask & ~infratentorial(anatomy.mni)
    seed = _draw_seed(rng, anatomy, fractions[0], allowed, plan)
    plan = plan.grown(size)
    reach = int(BOX / grid.spacing)
    x, y, z = (slice(max(0, i - reach), i + reach + 1) for i in seed)
    inside = (slice(None), x, y, z)
    textures = np.stack([random_field(rng, grid, length) for length in (9.0, 15.0, 12.0)])
    cells, edema = _grow_in_box(
        (seed[0] - x.start, seed[1] - y.start, seed[2] - z.start),
        fractions[inside],
        textures[inside],
        allowed[x, y, z].astype(np.float32),
        grid.spacing,
        plan,
    )
    moved = _push(anatomy.depth[x, y, z], [*anatomy.evidence[inside], cells, edema], grid, plan)
    tumor = Tumor(
        plan,
        anatomy.evidence.copy(),
        labels=np.zeros(grid.shape, np.uint8),
        edema=np.zeros(grid.shape, np.float32),
        cells=np.zeros(grid.shape, np.float32),
    )
    tumor.evidence[inside] = moved[:3]
    tumor.cells[x, y, z], tumor.edema[x, y, z] = moved[3], moved[4]
    fields = [random_field(rng, grid, length)[x, y, z] for length in (13.0, 6.0, 15.0)]
    tumor.labels[x, y, z] = _label(fields, grid, moved[3], moved[4], plan)
    tumor.labels[~anatomy.mask] = 0
    return tumor


def _draw_seed(
    rng: np.random.Generator,
    anatomy: Anatomy,
    wm: Array,
    allowed: Mask,
    plan: Plan,
) -> tuple[int, int, int]:
    """A voxel of cerebral white matter, the deeper the larger the tumor will be."""
    deep = 9 + 0.25 * (plan.core_ml * 240) ** (1 / 3)
    off_midline = np.abs(anatomy.mni[0]) > 12
    choice = np.argwhere((wm > 0.6) & allowed & off_midline & (anatomy.depth > deep))
    x, y, z = choice[rng.integers(len(choice))]
    return int(x), int(y), int(z)


def _grow_in_box(
    seed: tuple[int, int, int],
    fractions: Array,
    textures: Array,
    allowed: Array,
    spacing: float,
    plan: Plan,
) -> tuple[Array, Array]:
    """Cell density, and edema density over its label threshold, on the box.

    Both are simulated on voxels of about 2 mm: every second voxel of a 1 mm grid suffices.
    """
    skip = max(1, round(2 / spacing))
    thin = (slice(None), *(slice(None, None, skip),) * 3)
    coarse, uneven = fractions[thin], textures[thin]
    active = allowed[thin[1:]]
    start = tuple(i // skip for i in seed)
    size = spacing * skip
    paths = diffusivity(coarse, 0.8 * uneven[0])
    birth = active * np.exp(np.clip(0.8 * uneven[1], -1.5, 1.2))
    seed_ml = plan.core_ml / (1 + plan.push / plan.radius) ** 3  # the push makes room for the rest
    cells = grow_cells((start[0], start[1], start[2]), paths, birth, active, size, seed_ml)
    core = largest_piece(cells > 0.5)
    leaks = core * smoothstep(uneven[2], -1.5, 0.5)  # one side swells more than the other
    channels = diffusivity(coarse, 1.1 * uneven[0]) * smoothstep(coarse[0], 0.1, 0.7)
    edema = spread_edema(leaks.astype(np.float32), channels, active, size, plan.edema_reach)
    edema *= smoothstep(coarse[0] + 0.35 * coarse[1], 0.25, 0.6) * (1 - coarse[2])
    edema /= _threshold(edema[~core], plan.edema_ml * 1000 / size**3)
    return _refine(cells, allowed.shape, skip), _refine(edema, allowed.shape, skip)


def _threshold(values: Array, count: float) -> float:
    """The value that `count` of the voxels exceed, but never so low that it is noise."""
    if count < 1:
        return 1e3
    kept = min(int(count), values.size - 1)
    return max(0.03, float(np.partition(values, -kept)[-kept]))


def _refine(coarse: Array, shape: tuple[int, ...], skip: int) -> Array:
    """Linear interpolation of every `skip`-th voxel back to all voxels of `shape`."""
    if skip == 1:
        return coarse
    return sampled(coarse, voxel_indices(shape) / np.float32(skip))


def _push(depth: Array, maps: list[Array], grid: Grid, plan: Plan) -> list[Array]:
    """Mass effect: tissue, cells and edema move away from the core, the skull stays.

    The shift is `plan.push` at the surface of the core, falls to zero at its middle and over
    22 mm outside, and vanishes at the brain surface.

    Args:
        depth: distance to the brain surface in mm, (X, Y, Z).
        maps: what moves, each (X, Y, Z); the last but one is the cell density.
        grid: for the spacing.
        plan: for the shift.
    """
    spacing, core = grid.spacing, maps[-2] > 0.5
    outside = distance(~core, spacing)
    within = distance(core, spacing)
    radius = max(float(within.max()), 1.0)
    surface = blurred(outside - within, 4 / spacing)
    direction = np.stack([np.gradient(surface, axis=axis) for axis in range(3)])
    direction /= np.sqrt((direction**2).sum(0)) + 1e-3
    strength = np.exp(-outside / 22) * (1 - np.clip(within / radius, 0, 1))
    strength *= smoothstep(depth, 0, 14) * np.float32(plan.push / spacing)
    source = voxel_indices(depth.shape) - strength * direction
    return [sampled(m, source) for m in maps]


def _label(
    fields: list[Array], grid: Grid, cells: Array, edema: Array, plan: Plan
) -> NDArray[np.uint8]:
    """BraTS labels (X, Y, Z): a rim of uneven thickness with gaps and nodules enhances.

    Args:
        fields: three random fields (X, Y, Z): thickness, roughness and gaps of the rim.
        grid: for the spacing.
        cells: cell density (X, Y, Z).
        edema: edema density over its threshold (X, Y, Z).
        plan: for the kind and the rim.
    """
    rough = cells + 0.18 * fields[1] * smoothstep(cells, 0.05, 0.3)
    core = largest_piece(_smooth(rough > 0.5))
    labels = np.zeros(cells.shape, np.uint8)
    if not plan.kind.endswith("without edema"):
        labels[touching(_smooth(core | (edema > 1)) | core, core)] = ED
    labels[core] = NCR
    labels[core & _enhancing(fields, grid, core, plan)] = ET
    return labels


def _enhancing(fields: list[Array], grid: Grid, core: Mask, plan: Plan) -> Mask:
    """Where the contrast agent leaks (to be cut to the core)."""
    slow, fast, gap = fields
    if plan.kind == "low grade with a spot":
        best = np.where(core, slow, -np.inf)
        return largest_piece(best > best.max() - 0.9)
    if plan.low_grade:
        return np.zeros_like(core)
    if plan.kind == "solid":
        return core
    depth = distance(core, grid.spacing)
    uneven = depth + 0.7 * fast
    thickness = plan.rim * np.exp(0.4 * slow)
    gaps = (gap > 1.15) | (uneven < 0.3 * grid.spacing)
    nodules = (fast > 1.6) & (depth < 3 * plan.rim)
    return ((uneven < thickness) & ~gaps) | nodules


def _smooth(mask: Mask) -> Mask:
    """A mask as a rater would outline it: without single voxels and one-voxel holes."""
    return blurred(mask, 0.7) > 0.5


def tissue_fractions(tumor: Tumor) -> Array:
    """Shares of WM, GM, CSF around the tumor, (3, X, Y, Z)."""
    return shares(tumor.evidence)
