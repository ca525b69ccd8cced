"""Enhancing tumor too small to be believed: the size that validation asks for, and what it does."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cggm import Segmenter
from cggm.data.brats.cases import SEQUENCES
from cggm.pipelines.segmentation.small_enhancing import (
    DropSmallET,
    choose_smallest_et,
    drop_small_et,
    smallest_et,
)

from .test_inference import TURNED, Thresholds, segment, volumes, write_case
from .test_segmenter import arrays

ML = torch.full((3,), 0.01, dtype=torch.float64)  # of a voxel


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Overlap, predicted, true. All found and nothing false: nothing to gain.
        ([[90, 100, 100], [0, 0, 0], [50, 60, 70]], 0.0),
        # 0.15 ml where there is none: every size from 0.2 ml does, the largest is taken.
        ([[90, 100, 100], [0, 15, 0], [50, 60, 70]], 0.5),
        # ... but not beyond what is right elsewhere: 0.25 ml.
        ([[90, 100, 100], [0, 15, 0], [20, 25, 30]], 0.2),
        # Two lesions of 0.25 ml that are right weigh more than one of 0.3 ml that is not.
        ([[25, 25, 25], [0, 30, 0], [25, 25, 25]], 0.0),
        # Nothing that RANO calls measurable is ever left out.
        ([[90, 100, 100], [0, 60, 0], [0, 70, 0]], 0.0),
    ],
)
def test_the_size_that_is_chosen(counts: list[list[int]], expected: float) -> None:
    assert choose_smallest_et(torch.tensor(counts), ML) == expected


def test_voxels_count_by_their_volume() -> None:
    counts = torch.tensor([[90, 100, 100], [0, 15, 0], [50, 60, 70]])
    assert choose_smallest_et(counts, ML * 10) == 0.0  # 1.5 ml are too much to leave out
    assert choose_smallest_et(counts[:0], ML[:0]) == 0.0


def test_small_et_is_ncr_and_stays_in_the_core() -> None:
    classes = torch.tensor([0, 3, 3, 2, 1], dtype=torch.uint8)
    assert drop_small_et(classes.clone(), 0.1, smallest_ml=0.2) == 0  # 0.2 ml are enough
    assert drop_small_et(classes, 0.1, smallest_ml=0.25) == pytest.approx(0.2)
    assert classes.tolist() == [0, 1, 1, 2, 1]


def test_each_prediction_of_each_case_counts_alone() -> None:
    pred = torch.tensor([[[3, 3, 0], [3, 0, 0]], [[3, 0, 0], [0, 0, 2]]], dtype=torch.uint8)
    data = {"pred": pred, "voxel_ml": torch.tensor([0.1, 1.0])}
    changed = DropSmallET(0.15)(data)
    assert changed["pred"].tolist() == [[[3, 3, 0], [1, 0, 0]], [[3, 0, 0], [0, 0, 2]]]
    assert changed["small_et_ml"].tolist() == [[0, pytest.approx(0.1)], [0, 0]]


def test_files_and_arrays_obey_and_say_so(tmp_path: Path) -> None:
    """A case with little ET, in voxels of 6 mm3, through inference and through `Segmenter`."""
    write_case(tmp_path / "in", "P0", without=["seg"])
    images = arrays(tmp_path / "in")
    segmenter = Segmenter(Thresholds(), SEQUENCES, device="cpu")
    before = segmenter.segment(images, TURNED)
    enhancing = before.volumes["ET"]
    assert enhancing > 0
    for smallest, expected in ((enhancing, before.classes), (enhancing * 1.01, None)):
        segmenter.smallest_et = smallest
        result = segmenter.segment(images, TURNED)
        changed = np.where(before.classes == 3, 1, before.classes)
        assert np.array_equal(result.classes, changed if expected is None else expected)
        out = tmp_path / str(smallest)
        segment(tmp_path / "in", out, smallest_et=smallest)
        mask = np.asarray(nib.load(out / "masks" / "P0.nii.gz").dataobj)
        assert np.array_equal(mask, result.codes("brats2021"))
        said = f"{enhancing:.2g} ml of ET counted as NCR: too small to be believed"
        assert (said in result.remarks) == (said in volumes(out)[0]["remark"]) == (expected is None)


def test_the_size_is_read_from_what_lies_beside_the_weights(tmp_path: Path) -> None:
    files = [tmp_path / name / "model.pt" for name in ("a", "b", "old")]
    for file, told in zip(files, ({"smallest_et": 0.2}, {"smallest_et": 0.4}, {}), strict=True):
        file.parent.mkdir()
        torch.save({}, file)
        file.with_suffix(".json").write_text(json.dumps(told))
    assert [smallest_et(file) for file in files] == [0.2, 0.4, 0]
    assert smallest_et(files[:2]) == pytest.approx(0.3)
