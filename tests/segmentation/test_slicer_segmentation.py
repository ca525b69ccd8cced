"""Segmentations of 3D Slicer: out, edited as Slicer leaves them, and back as a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("slicerio", reason="the extra slicer is not installed")

import slicerio
from typer.testing import CliRunner, Result

from cggm.data.brats.cases import find_cases
from cggm.data.brats.checks import Grid
from cggm.data.brats.nifti import read_case
from cggm.data.errors import InputError
from cggm.pipelines.commands.slicer import app
from cggm.pipelines.segmentation.slicer_segmentation import read_from_slicer, write_for_slicer

from ..data.brains import write_case

AFFINE = np.array([[1.0, 0.1, 0, -20], [-0.1, 1.0, 0, 30], [0, 0, 2.0, 5], [0, 0, 0, 1]])
SHAPE = (10, 12, 8)


@pytest.fixture
def classes() -> np.ndarray:
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[2:8, 3:9, 2:6] = 2
    drawn[3:6, 4:7, 3:5] = 3
    drawn[4, 5, 4] = 1
    return drawn


@pytest.fixture
def written(classes: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "P1.seg.nrrd"
    write_for_slicer(classes, AFFINE, path)
    return path


def edit(path: Path, change: Any) -> None:
    content = slicerio.read_segmentation(str(path))
    change(content)
    slicerio.write_segmentation(str(path), content)


def grid() -> Grid:
    return Grid("case P1", SHAPE, AFFINE)


def test_mask_comes_back_as_it_went(classes: np.ndarray, written: Path) -> None:
    assert np.array_equal(read_from_slicer(written, grid()), classes)


def test_a_resection_cavity_has_a_segment_of_its_own(classes: np.ndarray, tmp_path: Path) -> None:
    classes[8:, 3:9, 2:6] = 4
    write_for_slicer(classes, AFFINE, tmp_path / "P1.seg.nrrd")
    cavity = slicerio.read_segmentation(str(tmp_path / "P1.seg.nrrd"))["segments"][3]
    assert (cavity["name"], cavity["labelValue"]) == ("RC resection cavity", 4)
    assert np.array_equal(read_from_slicer(tmp_path / "P1.seg.nrrd", grid()), classes)


def test_slicer_finds_names_colors_codes_and_place(written: Path) -> None:
    content = slicerio.read_segmentation(str(written))
    assert [one["labelValue"] for one in content["segments"]] == [1, 2, 3]
    assert [one["id"] for one in content["segments"]] == ["NCR", "ED", "ET"]
    assert len({tuple(one["color"]) for one in content["segments"]}) == 3
    enhancing = slicerio.segment_from_name(content, "ET enhancing tumor")
    assert enhancing["terminology"]["type"] == ["NCIt", "C113842", "Enhancing Lesion"]
    assert np.allclose(content["ijkToLPS"], np.diag([-1, -1, 1, 1]) @ AFFINE)


def test_place_and_voxels_are_those_of_itk(classes: np.ndarray, written: Path) -> None:
    """A second opinion on the file: ITK, which Slicer reads with."""
    sitk = pytest.importorskip("SimpleITK", reason="the extra prepare is not installed")
    image = sitk.ReadImage(str(written), imageIO="NrrdImageIO")
    assert np.array_equal(sitk.GetArrayFromImage(image).T, classes)
    point = np.array(image.TransformIndexToPhysicalPoint((4, 5, 4)))
    assert np.allclose(point * [-1, -1, 1], AFFINE[:3, :3] @ (4, 5, 4) + AFFINE[:3, 3])


def test_cropped_turned_and_layered_as_slicer_saves_it(classes: np.ndarray, written: Path) -> None:
    def crop_turn_and_layer(content: Any) -> None:
        voxels = content["voxels"][1:9, 2:10, 1:7][:, ::-1]
        place = content["ijkToLPS"]
        place[:3, 3] = (place @ [1, 9, 1, 1])[:3]
        place[:3, 1] *= -1
        content["voxels"] = np.stack([voxels == 3, 5 * (voxels == 1), voxels == 2]).astype(np.uint8)
        core, edema, enhancing = content["segments"]
        core |= {"layer": 1, "labelValue": 5}
        edema |= {"layer": 2, "labelValue": 1, "id": "Segment_9"}
        enhancing |= {"layer": 0, "labelValue": 1}
        content["segments"] = [enhancing, core, edema]

    edit(written, crop_turn_and_layer)
    assert np.array_equal(read_from_slicer(written, grid()), classes)


def rename(content: Any) -> None:
    content["segments"][2] |= {"id": "Segment_1", "name": "Segment_1"}


def shift(content: Any) -> None:
    content["ijkToLPS"][0, 3] += 0.3


def move_away(content: Any) -> None:
    content["ijkToLPS"][:3, 3] += content["ijkToLPS"][:3, 0] * 4


def overlap(content: Any) -> None:
    voxels = content["voxels"]
    content["voxels"] = np.stack([voxels, 4 * (voxels == 1)]).astype(np.uint8)
    content["segments"][0] |= {"layer": 0, "labelValue": 3}
    content["segments"].append({"id": "ET", "name": "ET", "labelValue": 4, "layer": 1})
    content["segments"][0]["labelValue"] = 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (rename, "a segment 'Segment_1'; expected NCR, ED, ET and RC"),
        (shift, "does not lie on the voxels of case P1"),
        (move_away, "lie outside the images of case P1"),
        (overlap, "1 voxel of 'ET' belong to another segment"),
    ],
)
def test_what_cannot_be_a_label_is_refused(written: Path, change: Any, fault: str) -> None:
    edit(written, change)
    with pytest.raises(InputError, match=fault):
        read_from_slicer(written, grid())


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "P1.seg.nrrd"
    path.write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"P1\.seg\.nrrd is no segmentation of 3D Slicer"):
        read_from_slicer(path, grid())


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_commands_take_masks_out_and_bring_corrected_cases_back(tmp_path: Path) -> None:
    data, masks, edited = (tmp_path / name for name in ("data", "masks", "edited"))
    masks.mkdir()
    for name in ("P0", "P1", "P2"):
        write_case(data, name)
        (data / name / f"{name}_seg.nii.gz").rename(masks / f"{name}.nii.gz")
    assert run("export", masks, edited).exit_code == 0
    truth = np.asarray(nib.load(masks / "P0.nii.gz").dataobj)
    (edited / "P1.seg.nrrd").unlink()
    (masks / "P1.nii.gz").rename(edited / "P1_seg.nii.gz")  # edited in another program
    (edited / "P2.seg.nrrd").rename(edited / "P9.seg.nrrd")
    for _ in range(2):  # an import may be repeated
        back = run("import", edited, data, tmp_path / "corrected")
        assert back.exit_code == 1 and "2 of 3 cases" in back.output
        assert "is called 'P9'" in back.output
    refused = run("import", edited, data, data)
    assert refused.exit_code == 1 and "choose another output folder" in refused.output
    assert not list(data.glob("*/*_seg.nii.gz"))
    cases = find_cases(tmp_path / "corrected")
    assert [case.name for case in cases] == ["P0", "P1"]
    for case in cases:
        label = nib.load(case.label.path) if case.label else None
        assert label is not None and np.array_equal(np.asarray(label.dataobj), truth)
        read_case(case, list(case.images))
    record = json.loads((tmp_path / "corrected" / "P0" / "corrected.json").read_text())
    assert record["label"] == "P0.seg.nrrd"


def test_a_corrected_cavity_comes_back_as_a_label_of_brats2024(tmp_path: Path) -> None:
    data, masks, edited = (tmp_path / name for name in ("data", "masks", "edited"))
    masks.mkdir()
    write_case(data, "P0")
    label = nib.load(data / "P0" / "P0_seg.nii.gz")
    values = np.array([0, 1, 2, 3, 3], np.uint8)[np.asarray(label.dataobj)]
    values[5:7, 14:16, 6] = 4
    nib.save(nib.Nifti1Image(values, label.affine), masks / "P0.nii.gz")
    (data / "P0" / "P0_seg.nii.gz").unlink()
    option = ("--label_convention", "brats2024")
    assert run("export", masks, edited, *option).exit_code == 0
    refused = run("import", edited, data, tmp_path / "corrected")
    assert refused.exit_code == 1 and "choose brats2024" in refused.output
    assert run("import", edited, data, tmp_path / "corrected", *option).exit_code == 0
    (case,) = find_cases(tmp_path / "corrected", label_convention="brats2024")
    assert case.layout == "brats2023" and len(case.images) == 4 and case.label is not None
    assert np.array_equal(np.asarray(nib.load(case.label.path).dataobj), values)
