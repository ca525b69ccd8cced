"""Masks as DICOM segmentations: the very same voxels on the series' own frames."""

from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="extra dicom")
hd = pytest.importorskip("highdicom", reason="extra dicom")

from cggm.data.dicom.headers import read_tree  # noqa: E402
from cggm.data.dicom.series import series_of  # noqa: E402
from cggm.data.dicom.stacks import Stack  # noqa: E402
from cggm.data.errors import InputError  # noqa: E402
from cggm.pipelines.segmentation.dicom_segmentation import (  # noqa: E402
    read_mask,
    write_segmentation,
)

from ..dicom_series import ID, NAME, SHAPE, oblique, write_series  # noqa: E402


def stack_of(folder: Path) -> Stack:
    (series,) = series_of(read_tree(folder))
    assert series.stack is not None
    return series.stack


def classes(seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    drawn[:, :, 0] = drawn[:, :, 5] = 0  # slices without tumor
    return drawn


def test_classic_frames_hold_the_very_voxels(tmp_path: Path) -> None:
    write_series(tmp_path / "in", orientation=oblique())
    stack, mask = stack_of(tmp_path / "in"), classes()
    assert write_segmentation(mask, stack, tmp_path / "mask.dcm")
    segmentation = hd.seg.segread(tmp_path / "mask.dcm")
    read = segmentation.get_pixels_by_source_instance(
        [frame.instance for frame in stack.frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(read.transpose(2, 1, 0), mask)
    # And by place: every stored plane lies where the slice of its source lies.
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        source = {one.instance: one for one in stack.frames}[image.ReferencedSOPInstanceUID]
        np.testing.assert_allclose(np.array(position, float), source.position, atol=1e-6)


def test_enhanced_frames_hold_the_very_voxels(tmp_path: Path) -> None:
    write_series(tmp_path / "in", orientation=oblique(), enhanced=True)
    stack, mask = stack_of(tmp_path / "in"), classes(1)
    write_segmentation(mask, stack, tmp_path / "mask.dcm")
    read = hd.seg.segread(tmp_path / "mask.dcm").get_pixels_by_source_frame(
        stack.frames[0].instance,
        [frame.number + 1 for frame in stack.frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(read.transpose(2, 1, 0), mask)


def test_segments_are_coded_and_say_that_this_is_research(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    write_segmentation(classes(), stack_of(tmp_path / "in"), tmp_path / "mask.dcm")
    dataset = pydicom.dcmread(tmp_path / "mask.dcm")
    found = [
        (item.SegmentNumber, code.CodingSchemeDesignator, code.CodeValue)
        for item in dataset.SegmentSequence
        for code in item.SegmentedPropertyTypeCodeSequence
    ]
    assert found == [(1, "SCT", "6574001"), (2, "SCT", "79654002"), (3, "NCIt", "C113842")]
    assert dataset.SegmentationType == "BINARY" and dataset.ContentLabel == "RESEARCH_USE"
    assert "research use only" in dataset.SeriesDescription
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("cggm", version("cggm"))
    # An archive files it by the patient and the study of its source.
    assert (dataset.PatientID, str(dataset.PatientName)) == (ID, NAME)


def test_the_same_mask_has_the_same_identity_and_an_empty_one_is_fine(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    stack, path = stack_of(tmp_path / "in"), tmp_path / "mask.dcm"
    assert write_segmentation(classes(), stack, path)
    assert not write_segmentation(classes(), stack, path)
    assert write_segmentation(np.zeros(SHAPE, np.uint8), stack, path)
    read = hd.seg.segread(path).get_pixels_by_source_instance(
        [frame.instance for frame in stack.frames], combine_segments=True
    )
    assert read.shape == SHAPE[::-1] and not read.any()


def test_enhancing_tumor_that_cannot_be_told_has_no_segment(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    stack, mask, path = stack_of(tmp_path / "in"), classes(), tmp_path / "mask.dcm"
    write_segmentation(mask, stack, path)  # of an earlier version
    assert write_segmentation(mask, stack, path, enhancing=False)
    dataset = pydicom.dcmread(path)
    labels = [item.SegmentLabel for item in dataset.SegmentSequence]
    assert labels == ["Tumor core, enhancing part not told", "Edema"]
    assert dataset.SeriesDescription == "Brain tumor without ET, for research use only"
    read = hd.seg.segread(path).get_pixels_by_source_instance(
        [frame.instance for frame in stack.frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    core = np.where(mask == 3, 1, mask)
    np.testing.assert_array_equal(read.transpose(2, 1, 0), core)


@pytest.mark.parametrize("enhancing", [True, False])
def test_a_resection_cavity_has_a_segment_of_its_own(tmp_path: Path, enhancing: bool) -> None:
    write_series(tmp_path / "in")
    stack, mask, path = stack_of(tmp_path / "in"), classes(), tmp_path / "mask.dcm"
    mask[2:4, 2:4, 2:4] = 4
    write_segmentation(mask, stack, path, enhancing=enhancing)
    item = pydicom.dcmread(path).SegmentSequence[-1]
    code = item.SegmentedPropertyTypeCodeSequence[0]
    assert (item.SegmentLabel, code.CodeValue) == ("Resection cavity", "52988006")
    read = hd.seg.segread(path).get_pixels_by_source_instance(
        [frame.instance for frame in stack.frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    expected = mask if enhancing else np.array([0, 1, 2, 1, 3], np.uint8)[mask]
    np.testing.assert_array_equal(read.transpose(2, 1, 0), expected)


def test_a_mask_is_turned_to_the_axes_of_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "in", orientation=oblique(35))
    stack, mask = stack_of(tmp_path / "in"), classes(2)
    values = np.array([0, 1, 2, 4], np.uint8)[mask]
    turned = nib.as_closest_canonical(nib.Nifti1Image(values, stack.affine))
    assert turned.shape == SHAPE and not np.array_equal(turned.dataobj, values)
    nib.save(turned, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz", "brats2021", stack), mask)


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    stack = stack_of(tmp_path / "in")
    shifted = stack.affine.copy()
    shifted[:3, 3] += [0.0, 0.2, 0.0]
    nib.save(nib.Nifti1Image(classes(), shifted), tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match="does not lie on the series .* 0.22 voxels beside"):
        read_mask(tmp_path / "mask.nii.gz", "brats2023", stack)
