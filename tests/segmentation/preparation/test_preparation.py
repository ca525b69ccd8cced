"""What `cggm prepare` writes of a case: registered, stripped, on one grid, described."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from cggm.data.brats.cases import find_cases
from cggm.data.brats.nifti import read_case, read_nifti
from cggm.data.phantom.head import Head, scanned
from cggm.pipelines.segmentation.preparation.batch import prepare_cases
from cggm.pipelines.segmentation.preparation.case import choose_reference, written_image
from cggm.pipelines.segmentation.preparation.case_list import find_cases_to_prepare
from cggm.pipelines.segmentation.preparation.images import to_itk
from cggm.pipelines.segmentation.preparation.record import read_record
from cggm.pipelines.segmentation.preparation.registration import register

from .conftest import SETTINGS
from .scans import MOTIONS, VOXELS, grid_of, moved, points_of, save, write_scans

LPS = np.array([-1.0, -1.0, 1.0])


@pytest.mark.parametrize("sequence", ["flair", "t2"])
def test_registration_error_is_below_a_millimeter(
    prepared: Path, head: Head, sequence: str
) -> None:
    """Turned by 7 and 11 degrees, shifted by more than 10 mm, FLAIR in slices of 5 mm."""
    about = read_record(prepared / "P01")["sequences"][sequence]
    found = np.array(about["reference_to_sequence_ras_mm"])
    points = points_of(head)
    error = np.linalg.norm(moved(found, points) - moved(MOTIONS[sequence], points), axis=1)
    assert error.max() < 1
    assert about["head_overlap_percent"] > 90 and about["brain_covered_percent"] > 98
    turn = np.rad2deg(np.arccos((np.trace(MOTIONS[sequence][:3, :3]) - 1) / 2))
    assert about["turn_degrees"] == pytest.approx(turn, abs=0.5)


def test_a_sheared_scan_is_prepared(head: Head, tmp_path: Path) -> None:
    """Slices that are not at right angles to the way from one to the next."""
    write_scans(tmp_path / "in" / "P01", head, "t1ce")
    shape, affine = grid_of(head, VOXELS["t2"])
    affine[1, 2] += 0.15 * affine[2, 2]
    image = scanned(head.images["t2"], head.affine, shape, affine, MOTIONS["t2"])
    save(tmp_path / "in" / "P01" / "P01_t2.nii.gz", image.astype(np.int16), affine)
    cases, problems = find_cases_to_prepare(tmp_path / "in")
    prepare_cases(cases, tmp_path / "out", SETTINGS, failed=problems)
    about = read_record(tmp_path / "out" / "P01")["sequences"]["t2"]
    points = points_of(head)
    found = moved(np.array(about["reference_to_sequence_ras_mm"]), points)
    assert np.linalg.norm(found - moved(MOTIONS["t2"], points), axis=1).max() < 1


def test_the_transform_file_says_the_same_as_the_record(prepared: Path, head: Head) -> None:
    record = read_record(prepared / "P01")
    transform = sitk.ReadTransform(str(prepared / "P01" / "P01_flair.tfm"))
    matrix = np.array(record["sequences"]["flair"]["reference_to_sequence_ras_mm"])
    points = points_of(head)[::50]
    read = [np.array(transform.TransformPoint((point * LPS).tolist())) * LPS for point in points]
    assert np.allclose(read, moved(matrix, points), atol=1e-6)


def test_every_number_of_threads_finds_the_same(scans: Path, prepared: Path) -> None:
    files = {n: read_nifti(scans / "P01" / f"P01_{n}.nii.gz", n) for n in ("t1ce", "flair")}
    images = {n: to_itk(f.voxels[..., 0].astype(np.float32), f.affine) for n, f in files.items()}
    mask = read_nifti(scans / "P01" / "P01_skullless.nii.gz", "mask")
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3 if threads != 3 else 5)
        brain = to_itk(mask.voxels[..., 0] != 0, mask.affine)
        again = register(images["t1ce"], images["flair"], brain)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    about = read_record(prepared / "P01")["sequences"]["flair"]
    assert round(again.degrees, 2) == about["turn_degrees"]
    assert round(again.information, 4) == about["mutual_information_nats"]
    turn = np.reshape(again.transform.GetMatrix(), (3, 3)) * np.outer(LPS, LPS)
    assert np.array_equal(turn, np.array(about["reference_to_sequence_ras_mm"])[:3, :3])


def test_the_result_is_what_check_and_infer_read(prepared: Path, head: Head) -> None:
    (case,) = find_cases(prepared, labels="ignored", allow_missing=True)
    assert case.name == "P01" and list(case.images) == ["flair", "t1ce", "t2"]
    volume = read_case(case, list(case.images))  # one grid, exactly 0 outside the brain
    assert np.allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), 3)
    brain = nib.load(prepared / "P01" / "P01_brain.nii.gz").get_fdata() > 0
    for image in volume.images.values():
        assert not image[~brain].any() and (image[brain] != 0).mean() > 0.98
    true_ml = head.brain.sum() * 27 / 1000
    assert brain.sum() * 27 / 1000 == pytest.approx(true_ml, rel=0.02)


def test_sequences_agree_where_they_lie_now(prepared: Path) -> None:
    """The ventricles, dark in T1ce and bright in T2, are in one place."""
    (case,) = find_cases(prepared, labels="ignored", allow_missing=True)
    images = read_case(case, list(case.images)).images
    inside = (images["t1ce"] != 0) & (images["t2"] != 0)
    correlation = np.corrcoef(images["t1ce"][inside], images["t2"][inside])[0, 1]
    shifted = np.roll(images["t2"], 2, 0)
    both = inside & (shifted != 0)
    assert correlation < np.corrcoef(images["t1ce"][both], shifted[both])[0, 1] - 0.05


def test_the_record_describes_the_case_and_names_no_folder(prepared: Path, scans: Path) -> None:
    record = read_record(prepared / "P01")
    assert record["reference"] == "t1ce" and record["sequences"]["flair"]["slice_mm"] == 5
    assert record["notes"] == ["flair has slices of 5.0 mm", "t2 has slices of 3.0 mm"]
    assert record["settings"] == {"brain_mask": "skullless", "accurate": False, "spacing": 3.0}
    assert record["brain"]["by"] == "P01_skullless.nii.gz"
    assert set(record["files"]) == {
        "P01.png",
        "P01_brain.nii.gz",
        *(f"P01_{name}.nii.gz" for name in ("flair", "t1ce", "t2")),
        *(f"P01_{name}.tfm" for name in ("flair", "t2")),
    }
    assert "Müller" not in json.dumps(record, ensure_ascii=False)


def test_the_reference_is_t1ce_or_the_finest() -> None:
    slab, fine = [0.5, 0.5, 5.0], [1.0, 1.0, 1.2]
    assert choose_reference({"t1ce": slab, "flair": fine}) == "t1ce"
    assert choose_reference({"t1": slab, "t2": [0.5, 0.5, 4.0], "flair": fine}) == "flair"
    assert choose_reference({"t2": fine, "t1": fine}) == "t1"


def test_zeros_and_signs_survive_writing() -> None:
    values = np.array([[[-3.0, 0.0], [0.5, 7.0]]], np.float32)
    brain = np.array([[[True, True], [True, False]]])
    read = written_image(values, brain, np.eye(4)).to_bytes()
    image = nib.Nifti1Image.from_bytes(read).get_fdata()
    assert np.allclose(image, [[[-3, 0], [0.5, 0]]], atol=1e-3)
    assert (image != 0).tolist() == brain.tolist()
