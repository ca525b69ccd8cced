"""Twelve cases in five forms: the same masks, each on the grid of its own files."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.conventions import CONVENTIONS
from cggm.data.phantom.cases import make_case
from cggm.data.phantom.grid import output_grid
from cggm.pipelines.segmentation.batch.case import Settings, Tool
from cggm.pipelines.segmentation.batch.cases import find_cases_to_segment
from cggm.pipelines.segmentation.batch.record import read_record
from cggm.pipelines.segmentation.batch.run import segment_cases
from cggm.pipelines.segmentation.trained import weights_in

from ...dicom_series import write_series
from .models import write_model

CASES, SPACING = 12, 4.0  # mm
AFFINE = output_grid(SPACING).affine()
NAMES_2023 = {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w"}
NAMES_BIDS = {"flair": "FLAIR", "t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w"}
DESCRIPTIONS = {"flair": "t2_flair", "t1": "t1_mprage", "t1ce": "t1_mprage_km", "t2": "t2_tse"}

Images = dict[str, np.ndarray]


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image, AFFINE), path)


def as_2021(root: Path, number: int, images: Images) -> str:
    name = f"BraTS2021_{number:05}"
    for key, image in images.items():
        save(root / name / f"{name}_{key}.nii.gz", image)
    return name


def as_2023(root: Path, number: int, images: Images) -> str:
    name = f"BraTS-GLI-{number:05}-000"
    for key, image in images.items():
        save(root / name / f"{name}-{NAMES_2023[key]}.nii.gz", image)
    return name


def as_msd(root: Path, number: int, images: Images) -> str:
    name = f"BRATS_{number + 1:03}"
    save(root / "imagesTr" / f"{name}.nii.gz", np.stack([images[key] for key in SEQUENCES], -1))
    modality = {str(place): key for place, key in enumerate(("FLAIR", "T1w", "t1gd", "T2w"))}
    (root / "dataset.json").write_text(json.dumps({"modality": modality}))
    return name


def as_bids(root: Path, number: int, images: Images) -> str:
    name = f"sub-{number:02}"
    for key, image in images.items():
        save(root / name / "anat" / f"{name}_{NAMES_BIDS[key]}.nii.gz", image)
    return name


def as_dicom(root: Path, number: int, images: Images) -> str:
    """The same voxels at the same places; DICOM counts millimeters to the left and the back."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    for series, (key, image) in enumerate(images.items(), 1):
        write_series(
            root / str(number) / str(series),
            image.astype(np.uint16),
            orientation=(*(lps[:3, 0] / SPACING), *(lps[:3, 1] / SPACING)),
            origin=lps[:3, 3].tolist(),
            pixel=(SPACING, SPACING),
            step=SPACING,
            patient=(f"Patient^{number:02}", f"{number:02}", "19600101"),
            study=f"1.2.3.{number}",
            SeriesNumber=series,
            SeriesDescription=DESCRIPTIONS[key],
        )
    return f"{number:02}-1"  # with --keep_ids; numbers come in no order of the patients


FORMS = {form.__name__: form for form in (as_2021, as_2023, as_msd, as_bids, as_dicom)}


@pytest.fixture(scope="module")
def images() -> list[Images]:
    made = [make_case(0, number, SPACING)[0] for number in range(CASES)]
    return [{key: np.asarray(arrays[key]) for key in SEQUENCES} for arrays in made]


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    model = write_model(tmp_path_factory.mktemp("model") / "trained")
    return Tool(weights_in(model), Settings(prepare="never"), "cpu")


def masks_of(form: str, images: list[Images], tool: Tool, folder: Path) -> list[np.ndarray]:
    """Classes of every case, in the axes of its files, after what the form needs."""
    names = [FORMS[form](folder / "in", number, one) for number, one in enumerate(images)]
    source = folder / "in"
    if form == "as_dicom":
        pytest.importorskip("pydicom", reason="extra dicom")
        from cggm.pipelines.commands import dicom

        source = folder / "nifti"
        dicom.convert(folder / "in", source, keep_ids=True)
    outcome = segment_cases(find_cases_to_segment(source), folder / "out", tool, say=[].append)
    assert not outcome.failed and sorted(outcome.done) == sorted(names)
    found = []
    for name in names:
        record = read_record(folder / "out" / name)
        assert sorted(record["sequences"]) == sorted(SEQUENCES)
        mask = nib.load(folder / "out" / name / record["mask"])
        np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4)
        found.append(
            CONVENTIONS[record["label_convention"]].to_classes(np.asarray(mask.dataobj), name)
        )
    return found


@pytest.mark.slow
def test_the_form_of_the_files_changes_no_voxel(
    images: list[Images], tool: Tool, tmp_path: Path
) -> None:
    masks = {form: masks_of(form, images, tool, tmp_path / form) for form in FORMS}
    for form, found in masks.items():
        for mask, expected in zip(found, masks["as_2021"], strict=True):
            assert len(np.unique(mask)) == 4
            assert np.array_equal(mask, expected), form


def test_a_4d_file_that_lacks_a_sequence_stops_no_other(
    images: list[Images], tool: Tool, tmp_path: Path
) -> None:
    for number in range(2):
        as_msd(tmp_path / "in", number, images[number])
    whole = np.stack([images[2][key] for key in SEQUENCES[:3]], -1)
    save(tmp_path / "in" / "imagesTr" / "BRATS_003.nii.gz", whole)
    found = find_cases_to_segment(tmp_path / "in")
    outcome = segment_cases(found, tmp_path / "out", tool, say=[].append)
    assert set(outcome.done) == {"BRATS_001", "BRATS_002"}
    ((name, (_, reason)),) = outcome.failed.items()
    assert name == "BRATS_003" and "holds 3 volumes; expected 4, one per sequence" in reason
