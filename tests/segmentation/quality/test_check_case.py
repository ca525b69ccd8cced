"""Faults planted in a synthetic case, each found by its code; the case itself raises none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.checks import MOST_ML
from cggm.data.brats.nifti import Volume, volume_of_arrays
from cggm.data.brats.volumes import intensity_ranges
from cggm.data.phantom.cases import make_case
from cggm.data.phantom.grid import output_grid
from cggm.data.phantom.head import make_head
from cggm.pipelines.segmentation.quality import check_case
from cggm.pipelines.segmentation.quality.brain import turned, turns
from cggm.pipelines.segmentation.quality.findings import CODES, SEVERITIES

SPACING = 3.0
Images = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def healthy() -> Volume:
    arrays, _ = make_case(0, 0, SPACING)  # its rim enhances
    images = {name: arrays[name] for name in SEQUENCES}
    return volume_of_arrays(images, output_grid(SPACING).affine())


def codes(volume: Volume, **trained: object) -> set[str]:
    return {each.code for each in check_case(volume, trained)}


def with_images(volume: Volume, **images: np.ndarray) -> Volume:
    return replace(volume, images={**volume.images, **images})


def cut(volume: Volume, z: slice) -> Volume:
    return replace(volume, images={name: image[..., z] for name, image in volume.images.items()})


@pytest.mark.parametrize("size", [1, 2, 4])
def test_nothing_is_said_of_a_healthy_case(healthy: Volume, size: int) -> None:
    for names in combinations(SEQUENCES, size):
        images = {name: healthy.images[name] for name in names}
        assert check_case(replace(healthy, images=images)) == []


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    """The same sequence measured again."""
    noise = (
        np.random.default_rng(seed).standard_normal(image.shape) * 0.05 * image[image > 0].mean()
    )
    return np.where(image > 0, np.maximum(1.3 * image + noise, 1), 0).astype(np.float32)


def rounded(image: np.ndarray) -> np.ndarray:
    scores = np.rint((image - image[image > 0].mean()) / image[image > 0].std()) + 10
    return np.where(image > 0, scores, 0).astype(np.float32)


def lower_part(image: np.ndarray, share: float) -> np.ndarray:
    counts = np.cumsum((image > 0).sum(axis=(0, 1)))
    return np.where(
        np.arange(image.shape[2]) < np.searchsorted(counts, share * counts[-1]), image, 0
    )


FAULTS: dict[str, tuple[str, str, Callable[[Images], np.ndarray]]] = {
    "empty": ("empty", "flair", lambda images: lower_part(images["flair"], 0.05)),
    "incomplete": ("incomplete", "flair", lambda images: lower_part(images["flair"], 0.6)),
    "moved": ("unregistered", "t2", lambda images: np.roll(images["t2"], 4, axis=0)),
    "rounded": ("constant", "t1", lambda images: rounded(images["t1"])),
    "clipped": ("clipped", "t2", lambda images: np.minimum(images["t2"], images["t1"].mean() * 9)),
    "copied": ("identical", "t1", lambda images: np.rint(images["t1"] / 3) + (images["t1"] > 0)),
    "no contrast": ("t1ce_is_t1", "t1ce", lambda images: noisy(images["t1"], 0)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_sequence_is_named(healthy: Volume, fault: str) -> None:
    code, about, plant = FAULTS[fault]
    changed = "t1ce" if fault == "copied" else about
    image = plant(healthy.images)
    if fault == "clipped":
        bright = np.percentile(healthy.images["t2"][healthy.images["t2"] > 0], 97)
        image = np.minimum(healthy.images["t2"], bright)
    found = check_case(with_images(healthy, **{changed: image}))
    assert (code, about) in {(each.code, each.sequence) for each in found}


def test_t1_from_after_the_agent_is_named(healthy: Volume) -> None:
    again = noisy(healthy.images["t1ce"], 1)
    found = codes(with_images(healthy, t1=again))
    assert found & {"t1_is_t1ce", "t1ce_is_t1"}


@pytest.mark.parametrize("pair", list(combinations(SEQUENCES, 2)))
def test_exchanged_sequences_are_told_by_their_contrasts(
    healthy: Volume, pair: tuple[str, str]
) -> None:
    first, second = pair
    images = healthy.images
    exchanged = with_images(healthy, **{first: images[second], second: images[first]})
    assert codes(exchanged) == {"swapped"}


def test_a_head_is_not_stripped_though_its_air_is_0() -> None:
    head = make_head(0, 0, SPACING)
    inside = head.images["t1"] > 0.03 * head.images["t1"].max()
    images = {name: np.where(inside, image, 0) for name, image in head.images.items()}
    volume = volume_of_arrays(images, head.affine)
    assert "not_stripped" in codes(volume)
    z = int(np.argwhere(head.brain)[:, 2].mean())
    slab = cut(volume, slice(z - 9, z + 9))
    ml = int((slab.images["t1"] > 0).sum()) * slab.voxel_ml
    assert ml < MOST_ML, "the volume alone does not tell"
    assert "not_stripped" in codes(slab)


def test_the_field_of_view_has_to_hold_the_brain(healthy: Volume) -> None:
    z = int(np.argwhere(healthy.images["t1"])[:, 2].mean())
    found = check_case(cut(healthy, slice(z - 6, z + 6)))
    assert [each.code for each in found] == ["slab", "slab"]
    assert "at the bottom" in found[0].sentence and "at the top" in found[1].sentence


def test_voxels_are_compared_with_those_of_the_training(healthy: Volume) -> None:
    assert codes(healthy, grid={"voxel_mm": [3.0, 3.0, 3.0]}) == set()
    assert codes(healthy, grid={"voxel_mm": [1.0, 1.0, 1.0]}) == {"spacing"}
    small = replace(healthy, affine=healthy.affine @ np.diag([0.7, 0.7, 0.7, 1]))
    assert codes(small) == {"brain_volume"}
    thick = replace(healthy, affine=healthy.affine @ np.diag([0.5, 0.5, 2, 1]))
    assert "slab" in codes(thick)


def test_turned_brains_are_seen_and_mirrored_ones_cannot_be(healthy: Volume) -> None:
    def in_turn(*turn: tuple[int, ...]) -> set[str]:
        images = {name: turned(image, *turn) for name, image in healthy.images.items()}
        return codes(replace(healthy, images=images))

    all_turns = list(turns())
    assert len(set(all_turns)) == 24
    assert in_turn((0, 1, 2), (-1, 1, 1)) == set()
    for turn in all_turns[1::5]:
        assert "orientation" in in_turn(*turn), turn


def test_one_sequence_alone_is_compared_with_the_training(healthy: Volume) -> None:
    images = list(healthy.images.items())
    ranges = intensity_ranges(images * 12)
    assert ranges["t2"]["cases"] == 12 and ranges["t2"]["low"] == ranges["t2"]["high"]
    grid = {"voxel_mm": [SPACING] * 3, "intensities": ranges}
    assert codes(healthy, grid=grid) == set()
    alone = replace(healthy, images={"flair": healthy.images["t2"]})
    assert codes(alone, grid=grid) == {"intensities"}
    few = intensity_ranges(images)
    assert codes(alone, grid={**grid, "intensities": few}) == set()


def test_a_finding_goes_into_a_record(healthy: Volume) -> None:
    t2 = healthy.images["t2"]
    found = check_case(with_images(healthy, t2=rounded(t2), flair=lower_part(t2, 0.6)))
    order = [SEVERITIES.index(each.severity) for each in found]
    assert len(found) > 1 and order == sorted(order)
    for each in found:
        assert json.loads(json.dumps(each.as_dict())) == each.as_dict()
        assert (each.severity, each.remedy) == CODES[each.code]
