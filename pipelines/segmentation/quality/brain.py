"""Checks of the brain: skull, size, place in the field of view, axes, and each sequence's share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ....data.brats.checks import MOST_ML, tells_position, voxel_sizes
from ....data.brats.nifti import Volume
from ..reliability import GRID, other_voxels
from .findings import Finding, finding
from .view import Mask, View

LEAST_ML = 100.0  # less is a piece, or a mask
SMALL_ML = 700.0  # below brains of children of one year; adults have 1,000 to 1,900
SHELL_MM = 2.0  # thickness of a shell, or a voxel
BONE_MM, SIDES_MM = 18.0, 30.0  # below any scalp lies bone; what is looked at on both sides
RING = 0.4  # bone gives a tenth of the signal around it; liquor between gyri more than half
USUAL_MM = (0.3, 3.0)  # sides of voxels of any training worth the name
THICK = 2.0  # times the other sides, and above USUAL_MM: the network sees steps
CUT = 0.25  # of the largest section; the frame of BraTS cuts the brain stem, far less
EMPTY, COMPLETE = 0.2, 0.8  # share of the brain; liquor that was rounded to 0 takes less than 0.2
OVERHANG = 0.05  # of both masks: a shift of some 4 mm, more than skull stripping leaves
BETTER = 0.01  # correlation of outlines; of phantoms upside down 0.026, upright -0.023 at most


def check_grid(volume: Volume, view: View, trained: Mapping[str, Any]) -> list[Finding]:
    """Check position and sizes of voxels, and whether the field of view holds the brain."""
    found: list[Finding] = []
    if not tells_position(volume.native.header):
        untold = "the header does not say how the patient lies (sform and qform codes are 0)"
        found.append(finding("position", f"{untold}: left and right may be swapped"))
    sizes, grid = voxel_sizes(volume.affine), trained.get(GRID) or {}
    text = " x ".join(f"{size:.3g}" for size in sizes)
    if "voxel_mm" in grid:
        if other := other_voxels(grid, sizes.tolist()):
            found.append(finding("spacing", other))
    elif sizes.max() > USUAL_MM[1] and sizes.max() > THICK * sizes.min():
        found.append(finding("slab", f"slices are {sizes.max():.3g} mm thick (voxels {text} mm)"))
    elif sizes.min() < USUAL_MM[0] or sizes.max() > USUAL_MM[1]:
        found.append(finding("spacing", f"voxels of {text} mm are unusual"))
    names = ("left", "right", "back", "front", "bottom", "top")
    for axis in range(3):
        areas = view.brain.sum(axis=tuple({0, 1, 2} - {axis}))
        for end in (0, -1):
            if (share := areas[end] / areas.max()) > CUT:
                where = names[2 * axis - end]
                sentence = f"the field of view cuts the brain at the {where}"
                found.append(
                    finding("slab", f"{sentence}: {share:.0%} of its largest section lie there")
                )
    return found


def check_brain(view: View, *, whole: bool) -> list[Finding]:
    """Check that what is left in the images is a brain, by volume and by the ring of the skull.

    Args:
        view: of the case.
        whole: whether the field of view holds all of it, so that its volume tells something.
    """
    ml = view.brain_ml
    if ml > MOST_ML:
        return [
            finding("not_stripped", f"{ml:.0f} ml are not 0; a brain has at most {MOST_ML:.0f}")
        ]
    if ml < LEAST_ML:
        return [finding("empty", f"only {ml:.0f} ml are not 0")]
    rings = {name: ring(view, name) for name in view.images}
    name = min(rings, key=lambda key: rings[key])
    if rings[name] < RING:
        sentence = f"below the surface lies a dark ring, {rings[name]:.0%} as bright as its sides"
        return [finding("not_stripped", f"{sentence}, as the skull does", name)]
    if whole and ml < SMALL_ML:
        return [
            finding("brain_volume", f"the brain has {ml:.0f} ml; expected {SMALL_ML:.0f} or more")
        ]
    return []


def ring(view: View, sequence: str) -> float:
    """Brightness of the darkest shell below the surface, relative to what lies on both sides."""
    width = max(SHELL_MM, float(view.voxel_mm.max()))
    number = int(SIDES_MM / width)
    shell = np.ceil(view.depth_mm / width).astype(int) - 1
    near = (shell >= 0) & (shell < number)
    counts = np.bincount(shell[near], minlength=number)
    if not counts.all():
        return 1.0
    levels = np.bincount(shell[near], view.images[sequence][near], number) / counts
    ratios = [1.0]
    for i in range(1, min(int(BONE_MM / width), number - 1)):
        side = min(levels[:i].max(), levels[i + 1 :].max())
        ratios += [float(levels[i] / side)] if side > 0 else []
    return min(ratios)


def check_coverage(view: View) -> list[Finding]:
    """Check that each sequence shows the brain that the others show, at the same place."""
    found = []
    for name, image in view.images.items():
        others = [view.images[other] != 0 for other in view.images if other != name]
        here = (image != 0) & view.brain
        there = np.any(others, axis=0) & view.brain if others else view.brain
        missing = float((there & ~here).sum() / max(there.sum(), 1))
        extra = float((here & ~there).sum() / max(here.sum(), 1))
        if missing > 1 - EMPTY:
            found.append(finding("empty", f"{name} is 0 in {missing:.0%} of the brain", name))
        elif min(missing, extra) > OVERHANG:
            sentence = f"the brain of {name} lies beside that of the others: {extra:.0%} of it"
            found.append(finding("unregistered", f"{sentence} outside of theirs", name))
        elif missing > 1 - COMPLETE:
            found.append(finding("incomplete", f"{name} is 0 in {missing:.0%} of the brain", name))
    return found


def check_orientation(view: View) -> list[Finding]:
    """Check the outline of the brain against the average one in all 24 turns.

    Left and right cannot be told from each other: a brain is nearly its mirror image.
    """
    average, own = outline(*_average()), outline(view.brain, view.voxel_mm)
    fits = {turn: _correlation(average, turned(own, *turn)) for turn in turns()}
    best = max(fits, key=lambda turn: fits[turn])
    right = fits[(0, 1, 2), (1, 1, 1)]
    if best == ((0, 1, 2), (1, 1, 1)) or fits[best] - right < BETTER:
        return []
    order, signs = best
    axes = ", ".join(
        ("-" if sign < 0 else "") + "XYZ"[axis] for axis, sign in zip(order, signs, strict=True)
    )
    sentence = f"the outline fits a brain better when its axes are taken as {axes}"
    return [finding("orientation", f"{sentence} (correlation {fits[best]:.2f}, else {right:.2f})")]


def turns() -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Orders and directions of the axes; the left-right direction of the result stays open."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=2):
            yield order, (1, *signs)


def turned(array: NDArray[Any], order: tuple[int, ...], signs: tuple[int, ...]) -> NDArray[Any]:
    """Give an array with its axes in another order and direction."""
    return array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


def outline(brain: Mask, voxel_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """A brain mask on 16 x 16 x 16 bins about its center, in units of its own size."""
    size = float(brain.sum() * voxel_mm.prod()) ** (1 / 3)
    places = np.argwhere(brain) * voxel_mm
    bins = np.floor(8 * (places - places.mean(axis=0)) / size).astype(int) + 8
    inside = ((bins >= 0) & (bins < 16)).all(axis=1)
    counts = np.bincount(bins[inside] @ (256, 16, 1), minlength=4096).reshape(16, 16, 16)
    return ndimage.gaussian_filter(counts / counts.max(), 0.7)


@lru_cache(maxsize=1)
def _average() -> tuple[Mask, NDArray[np.float64]]:
    from nilearn.datasets import load_mni152_brain_mask  # takes two seconds

    image = load_mni152_brain_mask(resolution=4)
    return np.asarray(image.dataobj) > 0, np.full(3, 4.0)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
