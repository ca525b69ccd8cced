"""Label conventions: what each value means, and what is said about a value that means nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cggm.data.brats.conventions import (
    CLASSES,
    CONVENTIONS,
    REGIONS,
    choose_convention,
    label_convention_named,
    region_mask,
    region_masks,
    region_volumes,
    told_in,
)
from cggm.data.errors import InputError

WHERE = "case P1: P1_seg.nii.gz"


@pytest.mark.parametrize(
    ("name", "values", "classes"),
    [
        ("brats2021", [0, 1, 2, 4], [0, 1, 2, 3]),
        ("brats2023", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("brats2024", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ("brats_peds2023", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("brats_peds2024", [0, 1, 2, 3, 4], [0, 3, 1, 1, 2]),
        ("msd", [0, 1, 2, 3], [0, 2, 1, 3]),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "i8", "u8", "f4", ">f8"])
def test_published_values(name: str, values: list[int], classes: list[int], dtype: str) -> None:
    found = CONVENTIONS[name].to_classes(np.array(values, dtype), WHERE)
    assert found.tolist() == classes
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", CONVENTIONS)
def test_classes_survive_the_way_to_a_file_and_back(name: str) -> None:
    known = len(CLASSES) if name == "brats2024" else 4
    classes = np.random.default_rng(0).integers(0, known, (3, 4, 5)).astype(np.uint8)
    values = CONVENTIONS[name].from_classes(classes)
    assert values.dtype == np.uint8
    assert np.array_equal(CONVENTIONS[name].to_classes(values, WHERE), classes)


def test_boolean_labels_are_values_not_a_selection() -> None:
    found = CONVENTIONS["brats2021"].to_classes(np.array([[True, False]]), WHERE)
    assert found.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "brats2023",
            [0, 4, 4],
            ["case P1", "label 4 in 2 voxels", "brats2023 (0 background, 1 NCR, 2 ED, 3 ET)"]
            + ["ET in brats2021", "resection cavity in brats2024", "choose the label_convention"],
        ),
        ("brats2021", [3], ["label 3 in 1 voxel", "ET in brats2023", "ET in msd"]),
        ("brats2024", [7, 7], ["label 7 in 2 voxels", "no known convention", "another data set"]),
        ("brats2021", [-1, 300], ["label -1 in 1 voxel", "label 300 in 1 voxel"]),
        ("brats2021", [0, 255, 255], ["label 255 in 2 voxels", "no known convention"]),
        ("msd", list(range(10, 18)), ["and 3 further values"]),
    ],
)
def test_unknown_values_are_counted_and_explained(
    name: str, values: list[int], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        CONVENTIONS[name].to_classes(np.array(values), WHERE)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_floats_near_whole_numbers_are_rounded() -> None:
    near = np.array([0.0005, 0.9995, 2.0, 3.9999], np.float32)
    assert CONVENTIONS["brats2021"].to_classes(near, WHERE).tolist() == [0, 1, 2, 3]


def test_interpolated_labels_are_refused() -> None:
    message = r"case P1.* 2 label voxels between whole numbers such as 0\.5; .*nearest neighbor"
    with pytest.raises(InputError, match=message):
        CONVENTIONS["brats2021"].to_classes(np.array([0.5, 1.2, 1.0]), WHERE)


def test_labels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="case P1.* 2 label voxels that are NaN or infinite"):
        CONVENTIONS["brats2021"].to_classes(np.array([np.nan, np.inf, 1.0]), WHERE)


def test_classes_outside_0_to_4_are_refused() -> None:
    with pytest.raises(ValueError, match=r"classes must be 0 to 4; found \[5\]"):
        CONVENTIONS["brats2021"].from_classes(np.array([0, 5]))


@pytest.mark.parametrize("name", [name for name in CONVENTIONS if name != "brats2024"])
def test_a_cavity_is_not_written_where_no_value_stands_for_it(name: str) -> None:
    message = rf"a resection cavity \(2 voxels\), .* {name} .* has no value: choose brats2024"
    with pytest.raises(InputError, match=message):
        CONVENTIONS[name].from_classes(np.array([0, 4, 4]))


def test_the_cavity_is_in_no_region_of_the_tumor() -> None:
    assert [int(mask.sum()) for mask in region_masks(np.array([4, 4])).values()] == [0, 0, 0]
    volumes = region_volumes(np.array([4, 4, 3]), 0.5, told_in({"RC"}))
    assert volumes == {"WT": 0.5, "TC": 0.5, "ET": 0.5, "RC": 1.0}


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="no label convention is called 'brats'.*brats2021.*msd"):
        label_convention_named("brats")


def test_regions_of_childrens_tumors() -> None:
    """Kazerooni et al., arXiv 2404.15009: ET is 1, TC adds 2 (NET) and 3 (CC), WT adds 4 (ED)."""
    masks = region_masks(CONVENTIONS["brats_peds2024"].to_classes(np.arange(5), WHERE))
    regions = {region: np.flatnonzero(mask).tolist() for region, mask in masks.items()}
    assert regions == {"WT": [1, 2, 3, 4], "TC": [1, 2, 3], "ET": [1]}
    written = CONVENTIONS["brats_peds2024"].from_classes(np.arange(4))
    assert written.tolist() == [0, 2, 4, 1], "what does not enhance is written as NET"


@pytest.mark.parametrize(
    ("region", "members"), [("WT", [0, 1, 1, 1]), ("TC", [0, 1, 0, 1]), ("ET", [0, 0, 0, 1])]
)
def test_regions_of_arrays_and_tensors(region: str, members: list[int]) -> None:
    assert region_mask(np.arange(4), region).astype(int).tolist() == members
    assert region_mask(torch.arange(4), region).int().tolist() == members


def test_regions_come_in_order_and_are_nested() -> None:
    masks = region_masks(np.arange(4))
    assert tuple(masks) == REGIONS
    assert (masks["ET"] <= masks["TC"]).all() and (masks["TC"] <= masks["WT"]).all()


def test_unknown_region_is_refused() -> None:
    with pytest.raises(ValueError, match="no region is called 'NET'"):
        region_mask(np.arange(4), "NET")


def test_a_proven_convention_needs_no_choice_and_allows_no_other() -> None:
    assert choose_convention(["brats2021"], None, needed=True, where="x") == "brats2021"
    assert choose_convention(["brats2021"], "brats2021", needed=True, where="x") == "brats2021"
    with pytest.raises(InputError, match="'brats2023', but .* prove brats2021: leave .* out"):
        choose_convention(["brats2021"], "brats2023", needed=False, where="x")


def test_an_open_convention_must_be_chosen_when_labels_are_read() -> None:
    possible = ["brats2023", "brats2024"]
    assert choose_convention(possible, None, needed=False, where="x") is None
    assert choose_convention(possible, "brats2024", needed=True, where="x") == "brats2024"
    with pytest.raises(InputError, match="choose brats2023 or brats2024; .*resection cavity"):
        choose_convention(possible, None, needed=True, where="x")
    assert choose_convention(possible, None, needed=True, where="x", default="brats2024") == (
        "brats2024"
    )
    with pytest.raises(InputError, match="mean brats2023 or brats2024: correct label_convention"):
        choose_convention(possible, "msd", needed=True, where="x")
