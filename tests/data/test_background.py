"""Images whose background is not 0 are refused wherever they are read; others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES, find_cases
from cggm.data.brats.checks import check_background
from cggm.data.brats.nifti import check_cases, read_case, volume_of_arrays
from cggm.data.brats.store import SliceStore
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter


def refusal(folder: Path) -> str:
    (case,) = find_cases(folder)
    with pytest.raises(InputError) as error:
        read_case(case, SEQUENCES)
    assert check_cases([case]) == [(case.name, str(error.value))]
    with pytest.raises(InputError) as converted:
        SliceStore.build([case], folder / "store", progress=False)
    assert str(converted.value) == str(error.value)
    return str(error.value)


def test_constant_background(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    """As after a z-score of the whole image."""
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["t2"], (nifti_cases.image(3) - 500) / np.float32(100))
    message = refusal(tmp_path)
    assert f"{files['t2']} (t2): the background is -5, not 0; expected a skull-stripped" in message
    assert message.endswith(
        "outside of the brain: set it to 0; intensities need not be normalized before"
    )


@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_skull_and_noise_around_the_brain(
    zeros: float, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    draws = np.random.default_rng(0)
    noise = draws.integers(1, 30, (8, 9, 10)) * (draws.random((8, 9, 10)) >= zeros)
    nifti_cases.save(files["flair"], nifti_cases.image() + noise.astype(np.int16))
    message = refusal(tmp_path)
    assert "(flair): the background is not 0 (only " in message
    assert "remove the skull, for example with cggm prepare" in message


@pytest.mark.parametrize("part", [(slice(None), slice(None), slice(4, 9)), (slice(None),) * 3])
def test_crops_and_stray_voxels_are_no_skull(part: tuple[slice, slice, slice]) -> None:
    """A slab of a brain whose other sides touch the box, and voxels at the corners."""
    grid = np.indices((12, 12, 12)) - 5.5
    brain = ((grid**2).sum(0) <= 36).astype(np.float32)[part]
    brain[0, 0] = brain[-1, -1, 0] = 7
    check_background(brain, "case P1")


def test_arrays_are_checked_like_files() -> None:
    image = np.random.default_rng(0).normal(size=(8, 9, 10))
    with pytest.raises(InputError, match="the background is not 0"):
        volume_of_arrays({"t1": image}, np.eye(4))


@pytest.mark.parametrize("radius, said", [(9, True), (7, False)])
def test_a_head_on_zeros_is_said(
    radius: int,
    said: bool,
    tmp_path: Path,
    nifti_cases: NiftiCaseWriter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Balls of 3.0 and 1.4 l: a skull is still there, or only a brain."""
    ball = ((np.indices((20, 20, 20)) - 9.5) ** 2).sum(0) <= radius**2
    texture = np.random.default_rng(0).integers(1, 99, ball.shape)
    files = nifti_cases.case(tmp_path)
    for number, name in enumerate(("flair", "t1", "t1ce", "t2")):
        image = (ball * (texture + number)).astype(np.int16)
        nifti_cases.save(files[name], image, np.diag([10.0, 10, 10, 1]))
    (case,) = find_cases(tmp_path, labels="ignored")
    read_case(case, list(case.images))
    assert ("if the skull is still there, masks are wrong; cggm prepare" in caplog.text) == said
