"""Diameters of lesions against shapes with known ones and a search over all points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from cggm.pipelines.segmentation.follow.bidimensional import largest_product


def test_row_of_voxels_is_as_long_as_its_voxels() -> None:
    mask = np.zeros((12, 12, 3), bool)
    mask[2:9, 4, 1] = True
    found = largest_product(mask, (1.0, 1.0, 1.0))
    assert found is not None
    assert found == pytest.approx((7, 1, 1))
    assert found.product_mm2 == pytest.approx(7)


@pytest.mark.parametrize("radii", [(20, 20), (24, 10)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.5)])
def test_ellipses_are_as_long_as_their_axes(
    radii: tuple[int, int], spacing: tuple[float, float]
) -> None:
    x, y = (np.arange(-60, 60.5) * size + 0.3 for size in spacing)
    inside = (x[:, None] / radii[0]) ** 2 + (y[None] / radii[1]) ** 2 <= 1
    found = largest_product(inside[..., None], (*spacing, 3.0))
    assert found is not None
    assert found.longest_mm == pytest.approx(2 * radii[0], abs=max(spacing))
    assert found.perpendicular_mm == pytest.approx(2 * radii[1], abs=max(spacing))


def test_nothing_has_no_diameter() -> None:
    assert largest_product(np.zeros((4, 4, 4), bool), (1, 1, 1)) is None


def test_necrosis_counts_and_the_largest_part_of_all_slices_is_taken() -> None:
    mask = np.zeros((30, 30, 4), bool)
    mask[2:12, 2:12, 1] = True
    mask[16:20, 16:29, 2] = True
    whole = largest_product(mask, (1, 1, 1))
    mask[4:10, 4:10, 1] = False
    assert largest_product(mask, (1, 1, 1)) == whole
    assert whole is not None and whole.slice == 1


def searched(part: np.ndarray) -> tuple[float, float]:
    """The same by brute force: all pairs of points, then chords at small steps."""
    half = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    points = np.unique((np.argwhere(part)[:, None] + half).reshape(-1, 2), axis=0)
    lengths = {(i, j): np.hypot(*(points[i] - points[j])) for i, j in pairs(len(points))}
    longest = max(lengths.values())
    ends = [pair for pair, length in lengths.items() if length > longest - 1e-9]
    return longest, max(widest_chord(points, points[i], points[j]) for i, j in ends)


def pairs(number: int) -> Iterator[tuple[int, int]]:
    return itertools.combinations(range(number), 2)


def widest_chord(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Every chord of the outline lies between two lines that join two of its points."""
    along = (end - start) / np.hypot(*(end - start))
    place, height = (points - start) @ along, (points - start) @ [-along[1], along[0]]
    steps = np.linspace(0, place.max(), 300)
    top = bottom = np.zeros_like(steps)
    for i, j in pairs(len(points)):
        low, high = (i, j) if place[i] < place[j] else (j, i)
        if place[high] - place[low] > 1e-9:
            ends = [low, high]
            line = np.interp(steps, place[ends], height[ends], np.nan, np.nan)
            top, bottom = np.fmax(top, line), np.fmin(bottom, line)
    return float((top - bottom).max())


@pytest.mark.parametrize("seed", range(4))
def test_any_shape_is_measured_as_by_a_search(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(11, 11))
    numbers, _ = ndimage.label(ndimage.gaussian_filter(noise, 1.2) > 0.1, np.ones((3, 3)))
    part = numbers == np.bincount(numbers[numbers > 0]).argmax()
    found = largest_product(part[..., None], (1, 1, 1))
    assert found is not None
    longest, perpendicular = searched(part)
    assert found.longest_mm == pytest.approx(longest)
    assert found.perpendicular_mm == pytest.approx(perpendicular, abs=0.05)
