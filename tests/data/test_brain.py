"""The brain of a case: the same with and without specks beside it, in any crop."""

from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.nifti import read_case
from cggm.data.brats.normalization import find_brain, prepare
from cggm.data.brats.store import SliceStore
from cggm.data.brats.volumes import VolumeDataset
from cggm.data.errors import InputError

from .brains import ball, brain_cases

BRAIN = ball((12, 14, 6), (9, 9, 5))


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_specks_beside_the_brain_change_nothing(gap: int) -> None:
    """Voxels 1, 2 and 4 beside it along each axis; those that touch it change no box."""
    brain, box = find_brain(BRAIN)
    assert np.array_equal(brain, BRAIN)
    specks = BRAIN.copy()
    specks[21 + gap if gap < 3 else 23, 14, 6] = specks[12, 23 + gap, 6] = True
    found, again = find_brain(specks)
    assert again == box
    assert np.array_equal(found, BRAIN) or (gap == 1 and (found & ~BRAIN).sum() <= 2)


def test_parts_of_some_size_are_brain_and_a_block_of_voxels_is_not() -> None:
    parts = BRAIN.copy()
    parts[:, :, 12:] = False
    parts[2:7, 0:4, :5] = True  # as a cerebellum cut off from the rest
    brain, _ = find_brain(parts)
    assert np.array_equal(brain, parts)
    parts |= ball((21, 25, 1), (1, 1, 1))  # 7 voxels, less than 1 % of the brain
    assert np.array_equal(find_brain(parts)[0], brain)


def test_the_brain_is_found_again_in_any_crop() -> None:
    _, (x, y, z) = find_brain(BRAIN)
    assert (x, y) == (slice(2, 23), slice(4, 25)) and z == slice(1, 12)
    _, again = find_brain(BRAIN[x, y, z])
    assert again == (slice(0, 21), slice(0, 21), slice(0, 11))


def test_what_is_too_thin_to_tell_is_brain() -> None:
    thin = np.zeros((6, 6, 2), bool)
    thin[1:4, 2:5] = True
    brain, box = find_brain(thin)
    assert np.array_equal(brain, thin) and box == (slice(1, 4), slice(2, 5), slice(0, 2))


def test_a_prepared_case_knows_nothing_of_specks(tmp_path: Path) -> None:
    images = read_case(brain_cases(tmp_path, 1)[0], SEQUENCES).images
    expected, box, brain = prepare(images)
    specks = {name: image.copy() for name, image in images.items()}
    specks["flair"][0, 0, 0] = specks["t2"][-1, 3, -1] = 1e5
    scores, again, same = prepare(specks)
    assert again == box and np.array_equal(same, brain)
    for name, score in scores.items():
        assert score.dtype == np.float16 and np.array_equal(score, expected[name])


def test_a_stored_case_is_a_prepared_one(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 1)
    volume = read_case(cases[0], SEQUENCES)
    scores, box, _ = prepare(volume.images)
    store = SliceStore.build(cases, tmp_path / "store", workers=1, progress=False)
    (item,) = VolumeDataset(store, ["P0"], ("t2", "flair"))
    expected = np.stack([scores["t2"], scores["flair"]]).astype(np.float32)
    assert np.array_equal(item["image"], expected)
    assert volume.label is not None and np.array_equal(item["label"][0], volume.label[box])
    assert (item["case"], pytest.approx(item["voxel_ml"])) == ("P0", 0.001)
    with pytest.raises(InputError, match="P0: swi asked for"):
        VolumeDataset(store, ["P0"], ("swi",))
