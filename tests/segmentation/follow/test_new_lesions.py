"""New lesions by size and by distance from the earlier tumor."""

from __future__ import annotations

import numpy as np
import pytest

from cggm.pipelines.segmentation.follow.new_lesions import new_lesions

STILL = np.eye(4)


def box(shape: tuple[int, int, int], *sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


TUMOR = box((40, 40, 20), (5, 15), (5, 15), (5, 15))


@pytest.mark.parametrize(("first", "new"), [(15, False), (19, False), (20, True), (30, True)])
def test_only_what_lies_beyond_the_margin_is_new(first: int, new: bool) -> None:
    """The last voxel of the tumor is 14; voxel 19 is 5 mm from it."""
    later = TUMOR | box(TUMOR.shape, (first, first + 6), (8, 13), (8, 13))
    found = new_lesions(later, STILL, TUMOR, STILL, STILL)
    assert bool(found) is new
    if new:
        assert found == [pytest.approx((0.15, first - 14))]


def test_small_parts_do_not_count() -> None:
    later = box(TUMOR.shape, (30, 34), (8, 13), (8, 13))  # 100 mm³
    assert new_lesions(later, STILL, TUMOR, STILL, STILL, 0.1)
    assert not new_lesions(later, STILL, TUMOR, STILL, STILL, 0.101)


def test_masks_on_other_grids_are_compared_where_they_lie() -> None:
    """The later date has voxels of 2 mm, is cropped, and the head has moved by 7 mm."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (3 + 7, 3, 3)
    back = np.eye(4)
    back[0, 3] = -7
    grown = box((18, 18, 8), (1, 6), (1, 6), (1, 6))
    apart = box((18, 18, 8), (14, 18), (1, 5), (1, 5))
    found = new_lesions(grown | apart, affine, TUMOR, STILL, back)
    assert found == [pytest.approx((0.512, 31 - 14))]
    assert not new_lesions(grown, affine, TUMOR, STILL, back)


def test_everything_is_new_where_there_was_no_tumor() -> None:
    (only,) = new_lesions(TUMOR, STILL, np.zeros_like(TUMOR), STILL, STILL)
    assert only == (1.0, np.inf)
