"""Figures of a region: empty ones by hand, others equal to MONAI's and to brute force."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from cggm.pipelines.segmentation.scoring import RegionScores, ScoringRules, score_region

from .masks import SHAPE, blocks, random_pair

NOTHING = blocks()
SOMETHING = blocks(((4, 4, 4), (8, 9, 7)))
NAN = math.nan


def scored(prediction: np.ndarray, truth: np.ndarray, convention: str) -> RegionScores:
    return score_region(prediction, truth, rules=ScoringRules(convention))


def monai_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] = (1, 1, 1),
    tolerance: float = 1,
) -> list[float]:
    """Dice, HD95 and surface Dice as MONAI gives them."""
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    hd95 = compute_hausdorff_distance(
        *pair, include_background=True, percentile=95, spacing=list(spacing)
    )
    near = compute_surface_dice(*pair, [tolerance], include_background=True, spacing=list(spacing))
    return [figure.item() for figure in (compute_dice(*pair), hd95, near)]


# Rows of the conventions: truth, prediction, then Dice and HD95 by convention.
@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        ("both", {"brats2021": (1, 0), "brats2023": (1, 0), "monai": (NAN, NAN)}),
        ("truth", {"brats2021": (0, 373.1287), "brats2023": (0, 374), "monai": (NAN, NAN)}),
        ("prediction", {"brats2021": (0, 373.1287), "brats2023": (0, 374), "monai": (0, NAN)}),
    ],
)
def test_empty_regions_by_convention(empty: str, expected: dict[str, tuple[float, float]]) -> None:
    truth = NOTHING if empty in ("both", "truth") else SOMETHING
    prediction = NOTHING if empty in ("both", "prediction") else SOMETHING
    for convention, figures in expected.items():
        found = scored(prediction, truth, convention)
        assert found.empty == empty
        assert (found.dice, found.hd95_mm) == pytest.approx(figures, nan_ok=True, abs=1e-4)
        # Volumes and lesions are the same whatever the convention.
        assert (found.predicted_ml > 0, found.true_ml > 0) == (prediction.any(), truth.any())
        lesions = {"both": (1, 0, 0, 0), "truth": (0, 374, 0, 1), "prediction": (0, 374, 1, 0)}
        assert lesions[empty] == (
            found.lesion_dice,
            found.lesion_hd95_mm,
            found.lesions_missed,
            found.lesions_false,
        )


@pytest.mark.filterwarnings("ignore:the (ground truth|prediction)")
@pytest.mark.parametrize(
    ("prediction", "truth"),
    [(NOTHING, NOTHING), (SOMETHING, NOTHING), (NOTHING, SOMETHING), (SOMETHING, SOMETHING)],
)
def test_the_convention_monai_is_what_monai_gives(
    prediction: np.ndarray, truth: np.ndarray
) -> None:
    found = scored(prediction, truth, "monai")
    figures = [found.dice, found.hd95_mm, found.surface_dice]
    assert figures == pytest.approx(monai_scores(prediction, truth), nan_ok=True, abs=1e-5)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.9, 0.9, 1.5), (0.5, 1.25, 3.0)])
@pytest.mark.parametrize("seed", range(4))
def test_equals_monai_where_nothing_is_empty(seed: int, spacing: Sequence[float]) -> None:
    prediction, truth = random_pair(seed)
    for tolerance in (0, 1, 1.5):
        rules = ScoringRules("brats2021", tolerance)
        found = score_region(prediction, truth, spacing=spacing, rules=rules)
        figures = [found.dice, found.hd95_mm, found.surface_dice]
        expected = monai_scores(prediction, truth, spacing, tolerance)
        assert figures == pytest.approx(expected, abs=1e-5)


def neighbors_outside(mask: np.ndarray, voxel: tuple[int, ...]) -> bool:
    for axis, step in product(range(3), (-1, 1)):
        place = list(voxel)
        place[axis] += step
        if not 0 <= place[axis] < mask.shape[axis] or not mask[tuple(place)]:
            return True
    return False


def brute_force(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]
) -> dict[str, float]:
    """Every figure from lists of voxels, one after the other."""
    predicted, true = ({tuple(v) for v in np.argwhere(m).tolist()} for m in (prediction, truth))
    surfaces = [
        np.array([v for v in sorted(voxels) if neighbors_outside(mask, v)]) * spacing
        for voxels, mask in ((predicted, prediction), (true, truth))
    ]
    apart = np.sqrt(((surfaces[0][:, None] - surfaces[1][None]) ** 2).sum(-1))
    directed = [apart.min(1), apart.min(0)]
    ml = math.prod(spacing) / 1000
    return {
        "dice": 2 * len(predicted & true) / (len(predicted) + len(true)),
        "hd95_mm": max(np.quantile(d, 0.95) for d in directed),
        "surface_dice": np.concatenate([d <= 1 + 1e-9 for d in directed]).mean(),
        "sensitivity": len(predicted & true) / len(true),
        "specificity": 1 - len(predicted - true) / (truth.size - len(true)),
        "predicted_ml": len(predicted) * ml,
        "true_ml": len(true) * ml,
        "volume_error_ml": (len(predicted) - len(true)) * ml,
    }


@pytest.mark.parametrize("seed", range(6))
def test_equals_brute_force(seed: int) -> None:
    spacing = np.random.default_rng(seed).uniform(0.4, 3, 3)
    prediction, truth = random_pair(seed, (6, 7, 8))
    found = score_region(prediction, truth, spacing=spacing.tolist())
    for name, figure in brute_force(prediction, truth, spacing).items():
        assert getattr(found, name) == pytest.approx(figure, abs=1e-9), name


def test_swapping_the_masks_swaps_what_it_should() -> None:
    prediction, truth = random_pair(7)
    there, back = score_region(prediction, truth), score_region(truth, prediction)
    for name in ("dice", "hd95_mm", "surface_dice"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))
    assert there.volume_error_ml == -back.volume_error_ml


def test_parts_of_an_image_give_the_same_figures_when_its_size_is_said() -> None:
    prediction, truth = SOMETHING, blocks(((3, 4, 4), (8, 8, 7)))
    part = (slice(0, 11), slice(1, 12), slice(1, 10))
    whole = score_region(prediction, truth)
    assert score_region(prediction[part], truth[part], voxels=truth.size) == whole
    assert score_region(prediction[part], truth[part]) != whole


def test_the_border_of_the_image_is_a_surface() -> None:
    full, less = np.ones(SHAPE, bool), np.ones(SHAPE, bool)
    less[0] = False
    found = score_region(less, full)
    assert [found.dice, found.hd95_mm, found.surface_dice] == pytest.approx(
        monai_scores(less, full), abs=1e-5
    )
    assert math.isnan(found.specificity)  # there is no voxel outside


def test_the_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scoring.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 1
    exec(examples[0], {})


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'brats2033' \(did you mean 'brats2023'\?\); choose one"):
        ScoringRules("brats2033")
    with pytest.raises(ValueError, match="no lesion rule is called 'glioma'"):
        ScoringRules(lesion_rule="glioma")
    with pytest.raises(ValueError, match="surface Dice is -1; it is a length in mm, 0 or more"):
        ScoringRules(tolerance_mm=-1)
    with pytest.raises(ValueError, match=r"shape \(12, 14, 10\) and the truth \(12, 14, 9\)"):
        score_region(SOMETHING, SOMETHING[..., :9])
