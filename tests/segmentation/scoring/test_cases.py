"""Files of cases: labels into regions, what is said about them, and labels of other cases."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.pipelines.segmentation.scoring import (
    Regions,
    ScoringRules,
    pair_masks,
    score_labels,
    score_pairs,
    score_region,
)
from cggm.pipelines.segmentation.scoring.cases import Scored

SHAPE = (9, 8, 7)


def labels(*values: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, SHAPE).astype(np.int16)


def scored(folder: Path, regions: Regions, *pairs: tuple[np.ndarray, np.ndarray]) -> Scored:
    """Write pairs of prediction and truth with voxels of 1 x 2 x 3 mm, and score them."""
    for number, pair in enumerate(pairs):
        for side, array in zip(("predicted", "true"), pair, strict=True):
            (folder / side).mkdir(exist_ok=True)
            nib.save(
                nib.Nifti1Image(array, np.diag([1, 2, 3, 1])), folder / side / f"P{number}.nii"
            )
    pairing = pair_masks(folder / "predicted", folder / "true")
    return score_pairs(pairing.pairs, regions, ScoringRules())


def test_files_give_what_arrays_give(tmp_path: Path) -> None:
    pair = labels(0, 1, 2, 4), labels(0, 1, 2, 4, seed=1)
    own = Regions(labels={"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]})
    by_labels = scored(tmp_path, own, pair)
    by_convention = scored(tmp_path, Regions("brats2021"), pair)
    assert by_labels.cases == by_convention.cases and not by_labels.failures
    assert score_labels(*pair, own, spacing=(1, 2, 3)) == by_labels.cases[0].regions
    core = [np.isin(array, [1, 4]) for array in pair]
    assert by_labels.cases[0].regions["TC"] == score_region(*core, spacing=(1, 2, 3))


def test_labels_that_only_other_cases_have_are_empty_in_both(tmp_path: Path) -> None:
    found = scored(tmp_path, Regions(), (labels(0, 2), labels(0, 2)), (labels(0, 10), labels(0)))
    assert [list(case.regions) for case in found.cases] == [["2", "10"], ["2", "10"]]
    assert found.cases[0].regions["10"].empty == "both"
    assert found.cases[0].regions["10"].dice == 1
    assert found.cases[0].regions["10"].specificity == 1
    assert found.cases[1].regions["10"].empty == "truth"


def test_labels_in_no_region_are_said(tmp_path: Path) -> None:
    found = scored(tmp_path, Regions(labels={"ET": [4]}), (labels(0, 3, 4), labels(0, 4, 9)))
    assert found.notes == ["case P0: 2 labels in no region count as background (3, 9)"]


def test_a_cavity_is_background(tmp_path: Path) -> None:
    truth = labels(0, 1, 2, 3, 4)
    without = np.where(truth == 4, 0, truth).astype(np.int16)
    found = scored(tmp_path, Regions("brats2024"), (without, truth))
    assert [region.dice for region in found.cases[0].regions.values()] == [1, 1, 1]


def test_images_are_no_masks(tmp_path: Path) -> None:
    image = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    found = scored(tmp_path, Regions(), (image, image), (image - 3, image), (labels(1), labels(1)))
    assert "P0: 503 different labels; expected at most 200: is one of" in found.failures["P0"]
    assert "P1.nii holds label -3; expected 0 for the background" in found.failures["P1"]
    assert [case.case for case in found.cases] == ["P2"]


def test_wrong_regions_are_refused() -> None:
    for values in ([], [0], [1.5], [True]):
        with pytest.raises(InputError, match="region a has the labels .*; expected whole numbers"):
            Regions(labels={"a": values})
    with pytest.raises(ValueError, match=r"prediction \(9, 8, 7\) and truth \(8, 7\) differ"):
        score_labels(labels(0, 1), labels(0, 1)[0], Regions())
