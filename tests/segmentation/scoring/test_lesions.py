"""Lesion-wise figures by hand: the rule of BraTS 2023."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cggm.pipelines.segmentation.scoring import LESION_RULES, ScoringRules, score_region
from cggm.pipelines.segmentation.scoring.lesions import LesionScores, lesion_scores
from cggm.pipelines.segmentation.scoring.surfaces import hd95, surface_distances

from .masks import blocks

SHAPE = (40, 20, 20)
GLI = LESION_RULES["gli"]
LARGE = ((4, 4, 4), (9, 9, 9))  # 125 mm³
FAR = ((25, 4, 4), (30, 9, 9))
SMALL = ((25, 4, 4), (28, 8, 8))  # 48 mm³: too small to count


def scored(prediction: list, truth: list, spacing: tuple = (1, 1, 1)) -> LesionScores:
    return lesion_scores(
        blocks(*prediction, shape=SHAPE), blocks(*truth, shape=SHAPE), spacing, GLI
    )


def test_found_missed_and_false() -> None:
    spurious = ((4, 15, 15), (6, 17, 17))
    assert scored([LARGE], [LARGE]) == (1, 0, 1, 0, 0)
    assert scored([LARGE], [LARGE, FAR]) == (0.5, 187, 1, 1, 0)
    assert scored([LARGE, spurious], [LARGE]) == (0.5, 187, 1, 0, 1)
    assert scored([spurious], [LARGE]) == (0, 374, 0, 1, 1)
    assert scored([spurious, LARGE], [LARGE, FAR]) == pytest.approx((1 / 3, 748 / 3, 1, 1, 1))
    assert scored([], []) == (1, 0, 0, 0, 0)


def test_each_lesion_is_compared_with_the_parts_that_touch_it() -> None:
    half = ((25, 4, 4), (27, 9, 9))  # 50 of 125 voxels; its far face is 3 mm from the truth's
    dice = (1 + 2 * 50 / 175) / 2
    assert scored([LARGE, half], [LARGE, FAR]) == pytest.approx((dice, 3 / 2, 2, 0, 0))


def test_parts_whose_dilations_touch_are_one_lesion() -> None:
    # Each grows by 3 voxels: up to a gap of 6 voxels they are neighbors.
    for gap, lesions in ((6, 1), (7, 2)):
        near = ((9 + gap, 4, 4), (14 + gap, 9, 9))
        found = scored([LARGE], [LARGE, near])
        assert found.found + found.missed == lesions, gap
        assert found.dice == pytest.approx(2 * 125 / 375 if lesions == 1 else 0.5)


def test_a_part_within_the_dilation_finds_the_lesion_without_overlap() -> None:
    # Diagonally, three steps over 18 neighbors reach 6 faces in all: (2, 2, 2), and not (3, 3, 3).
    beside = ((11, 4, 4), (13, 9, 9))
    found = scored([beside], [LARGE])
    assert (found.dice, found.found, found.false) == (0, 1, 0)
    assert found.hd95_mm < 10
    assert scored([((10, 10, 10), (12, 12, 12))], [LARGE]).found == 1
    assert scored([((11, 11, 11), (12, 12, 12))], [LARGE]).found == 0


def test_a_small_lesion_does_not_count_and_excuses_what_touches_it() -> None:
    assert scored([LARGE], [LARGE, SMALL]) == (1, 0, 1, 0, 0)
    assert scored([LARGE, SMALL], [LARGE, SMALL]) == (1, 0, 1, 0, 0)
    assert scored([], [SMALL]) == (1, 0, 0, 0, 0)
    # The limit is a volume: with larger voxels the same lesion counts.
    assert scored([LARGE], [LARGE, SMALL], (1, 1, 1.5)).missed == 1


def test_a_part_that_touches_two_lesions_is_compared_with_both() -> None:
    bridge = ((4, 4, 4), (30, 9, 9))  # 650 voxels over two lesions of 125
    found = scored([bridge], [LARGE, FAR])
    assert (found.dice, found.found, found.false) == (pytest.approx(250 / 775), 2, 0)


def test_corners_join_parts_of_the_prediction() -> None:
    parts = [((10, 14, 14), (12, 16, 16)), ((12, 16, 16), (14, 18, 18))]
    assert scored([LARGE, *parts], [LARGE]).false == 1


def test_challenges_differ() -> None:
    near = ((14, 4, 4), (19, 9, 9))
    masks = [blocks(*parts, shape=SHAPE) for parts in ([LARGE], [LARGE, near, SMALL])]
    counts = {}
    for name in ("gli", "men", "met"):
        found = score_region(*masks, rules=ScoringRules(lesion_rule=name))
        counts[name] = (found.lesions_found, found.lesions_missed)
    assert counts == {"gli": (1, 0), "men": (1, 1), "met": (1, 2)}


def to_the_letter(prediction: np.ndarray, truth: np.ndarray, spacing: tuple) -> LesionScores:
    """The rule lesion by lesion on whole images, each lesion dilated anew."""
    by_18, by_26 = (ndimage.generate_binary_structure(3, reach) for reach in (2, 3))
    parts, _ = ndimage.label(prediction, by_26)
    dilated, lesions = ndimage.label(ndimage.binary_dilation(truth, by_18, 3), by_26)
    dice, distances, used, found, missed = [], [], set(), 0, 0
    for number in range(1, lesions + 1):
        lesion = truth & (dilated == number)
        touching = set(np.unique(parts[ndimage.binary_dilation(lesion, by_18, 3)])) - {0}
        used |= touching
        if lesion.sum() * np.prod(spacing) <= 50:
            continue
        matched = np.isin(parts, list(touching))
        found, missed = found + bool(touching), missed + (not touching)
        dice.append(2 * (matched & lesion).sum() / (matched.sum() + lesion.sum()))
        distance = hd95(surface_distances(matched, lesion, spacing)) if touching else 374
        distances.append(distance)
    false = len(set(np.unique(parts)) - {0} - used)
    dice, distances = dice + [0] * false, distances + [374] * false
    if not dice:
        return LesionScores(1, 0, 0, 0, 0)
    return LesionScores(np.mean(dice), np.mean(distances), found, missed, false)


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_rule_to_the_letter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = np.zeros((2, 60, 58, 56), bool)
    places = np.indices(truth.shape)
    for _ in range(7):
        center, size = rng.uniform(5, 50, 3), rng.uniform(1.5, 4.5)
        for mask in (prediction, truth):
            if rng.random() < 0.8:
                moved = (center + rng.normal(0, 1, 3)).reshape(3, 1, 1, 1)
                mask |= ((places - moved) ** 2).sum(0) < size**2
    spacing = (1, 1.2, 0.9)
    found = lesion_scores(prediction, truth, spacing, GLI)
    assert found.found > 0
    assert found == pytest.approx(to_the_letter(prediction, truth, spacing))


@pytest.mark.parametrize("seed", range(8))
def test_the_box_around_both_masks_is_enough(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = np.zeros((2, 30, 30, 30), bool)
    for mask in (prediction, truth):
        mask[8:22, 8:22, 8:22] = rng.random((14, 14, 14)) < 0.004
    rules = ScoringRules(lesion_rule="met")
    found = score_region(prediction, truth, spacing=(1, 2, 3), rules=rules)
    whole = lesion_scores(prediction, truth, (1, 2, 3), LESION_RULES["met"])
    assert whole.found + whole.missed + whole.false > 2
    assert (found.lesions_found, found.lesions_missed, found.lesions_false) == whole[2:]
    assert (found.lesion_dice, found.lesion_hd95_mm) == pytest.approx(whole[:2])
