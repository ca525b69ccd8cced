"""Each published layout is read as it is published, and its labels are never taken for others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES, Case, find_cases
from cggm.data.brats.nifti import read_case
from cggm.data.errors import InputError
from cggm.data.patients import patient_of

from .conftest import NiftiCaseWriter

HYPHENS = {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "label": "-seg"}


def write(root: Path, writer: NiftiCaseWriter, files: Mapping[str, str]) -> dict[str, Path]:
    """Write an image for each sequence, and a label with the values 0 to 3, at the given paths."""
    paths = {}
    for seed, (key, name) in enumerate(files.items()):
        array = writer.label((0, 1, 2, 3)) if key == "label" else writer.image(seed)
        paths[key] = writer.save(root / name, array)
    return paths


def paths_of(case: Case) -> dict[str, Path]:
    paths = {key: source.path for key, source in case.images.items()}
    return paths if case.label is None else paths | {"label": case.label.path}


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        find_cases(folder, **settings)  # pyright: ignore[reportArgumentType]
    return str(error.value)


@pytest.mark.parametrize(
    ("files", "name", "layout", "convention"),
    [
        (
            {
                "flair": "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_FLAIR_bias.nii.gz",
                "t1": "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1_bias.nii.gz",
                "t1ce": "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1c_bias.nii.gz",
                "t2": "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T2_bias.nii.gz",
                "label": "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_tumor_segmentation.nii.gz",
            },
            "UCSF-PDGM-0004",
            "ucsf_pdgm",
            "brats2021",
        ),
        (
            {
                "flair": "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_FLAIR.nii.gz",
                "t1": "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz",
                "t1ce": "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1GD.nii.gz",
                "t2": "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T2.nii.gz",
                "label": "images_segm/UPENN-GBM-00001_11_segm.nii.gz",
            },
            "UPENN-GBM-00001_11",
            "upenn_gbm",
            "brats2021",
        ),
        (
            {
                "flair": "P1/P1_FLAIR.nii.gz",
                "t1": "P1/P1_T1.nii.gz",
                "t1ce": "P1/P1_T1CE.nii.gz",
                "t2": "P1/P1_T2.nii.gz",
                "label": "P1/P1_seg.nii.gz",
            },
            "P1",
            "brats2018",
            "brats2021",
        ),
    ],
)
def test_published_names(
    files: Mapping[str, str],
    name: str,
    layout: str,
    convention: str,
    tmp_path: Path,
    nifti_cases: NiftiCaseWriter,
) -> None:
    paths = write(tmp_path, nifti_cases, files)
    (case,) = find_cases(tmp_path)
    assert (case.name, case.layout, case.convention) == (name, layout, convention)
    assert paths_of(case) == paths


def test_other_files_of_ucsf_and_upenn_are_no_cases(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    ucsf = tmp_path / "ucsf" / "UCSF-PDGM-0004_FU001d_nifti"
    for kind in ("FLAIR", "T1", "T1c", "T2"):
        for end in ("", "_bias"):
            nifti_cases.save(
                ucsf / f"UCSF-PDGM-0004_FU001d_{kind}{end}.nii.gz", nifti_cases.image()
            )
    nifti_cases.save(ucsf / "UCSF-PDGM-0004_FU001d_brain_segmentation.nii.gz", nifti_cases.image())
    (case,) = find_cases(tmp_path / "ucsf", labels="optional")
    assert patient_of(case.name) == "UCSF-PDGM-0004"
    assert all("_bias" in path.name for path in paths_of(case).values())

    upenn = tmp_path / "upenn"
    for kind in ("FLAIR", "T1", "T1GD", "T2"):
        nifti_cases.save(upenn / f"UPENN-GBM-00001_11_{kind}.nii.gz", nifti_cases.image())
    automated = upenn / "UPENN-GBM-00001_11_automated_approx_segm.nii.gz"
    nifti_cases.save(automated, nifti_cases.label((0, 1)))
    (case,) = find_cases(upenn, labels="optional")
    assert case.label is None, "an automated segmentation is no truth"
    assert f"holds {automated.name}: rename it?" in refusal(upenn)


@pytest.mark.parametrize("ending", ["t1c", "t1gd", "t1ce", "T1C", "T1Gd", "T1CE"])
def test_t1_with_contrast_has_many_names(
    ending: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path, "P1", without=["t1ce"])
    path = nifti_cases.save(tmp_path / "P1" / f"P1_{ending}.nii.gz", nifti_cases.image(9))
    notes: list[str] = []
    (case,) = find_cases(tmp_path, allow_missing=True, say=notes.append)
    assert paths_of(case) == files | {"t1ce": path}
    told = [f"t1ce is read from P1_{ending}.nii.gz in 1 case"]
    assert notes == ([] if ending == "t1ce" else told)


def test_two_names_for_one_sequence_are_ambiguous(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.save(tmp_path / "P1" / "P1_t1c.nii.gz", nifti_cases.image(9))
    assert refusal(tmp_path).startswith("case P1: 2 files for t1ce: ")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("P1_t1_post.nii.gz", "t1ce"),
        ("P1_T1-Gd.nii.gz", "t1ce"),
        ("P1_t2flair.nii.gz", "flair"),
        ("P1_t1_native.nii.gz", "t1"),
        ("T2_axial.nii.gz", "t2"),
    ],
)
def test_a_missing_sequence_is_not_given_up_for_a_name(
    name: str, key: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1", without=[key])
    near = nifti_cases.save(tmp_path / "P1" / name, nifti_cases.image(9))
    message = refusal(tmp_path, allow_missing=True)
    assert message == (
        f"case P1: no file for {key}, but {near} may be it: rename it to P1_{key}.nii.gz, or take "
        f"it away to go without {key}"
    )


def test_bids_with_sessions_and_derivatives(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    expected = {}
    for case, folder in {"sub-01_ses-a": "sub-01/ses-a", "sub-01_ses-b": "sub-01/ses-b"}.items():
        expected[case] = write(
            tmp_path,
            nifti_cases,
            {
                "flair": f"{folder}/anat/{case}_acq-3d_FLAIR.nii.gz",
                "t1": f"{folder}/anat/{case}_run-1_T1w.nii.gz",
                "t1ce": f"{folder}/anat/{case}_acq-3d_ce-gadolinium_run-1_T1w.nii.gz",
                "t2": f"{folder}/anat/{case}_T2w.nii.gz",
                "label": f"derivatives/x/{folder}/anat/{case}_label-tumor_dseg.nii.gz",
            },
        )
        for other in (f"{folder}/anat/{case}_dseg", f"{folder}/anat/{case}_desc-brain_mask"):
            nifti_cases.save(tmp_path / f"{other}.nii.gz", nifti_cases.label((0, 1)))
    notes: list[str] = []
    (tmp_path / "sub-02" / "anat").mkdir(parents=True)
    (tmp_path / "sub-02" / "anat" / "sub-02_T1w.json").write_text("{}")
    cases = find_cases(tmp_path, label_convention="brats2023", say=notes.append)
    assert {case.name: paths_of(case) for case in cases} == expected
    assert {case.layout for case in cases} == {"bids"}
    assert notes == ["not used: 1 folder (sub-02) without any image"]
    assert {patient_of(case.name) for case in cases} == {"sub-01"}
    assert "choose brats2021 or brats2023 or" in refusal(tmp_path)


def challenge(root: Path, writer: NiftiCaseWriter, case: str) -> None:
    write(root, writer, {key: f"{case}/{case}{end}.nii.gz" for key, end in HYPHENS.items()})


@pytest.mark.parametrize("given", [None, "brats2023", "brats2024", "msd"])
def test_labels_of_children_are_never_read_as_those_of_adults(
    given: str | None, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    challenge(tmp_path, nifti_cases, "BraTS-PED-00002-000")
    message = refusal(tmp_path, label_convention=given)
    assert "brats_peds2023 or brats_peds2024" in message
    (case,) = find_cases(tmp_path, labels="ignored")
    assert case.mask_convention == "brats_peds2024"


def test_labels_of_children_by_their_own_convention(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    challenge(tmp_path, nifti_cases, "BraTS-PED-00002-000")
    stored = nifti_cases.label((0, 1, 2, 3))
    for convention, classes in {
        "brats_peds2024": [0, 3, 1, 1],
        "brats_peds2023": [0, 1, 2, 3],
    }.items():
        (case,) = find_cases(tmp_path, label_convention=convention)
        label = read_case(case, SEQUENCES).label
        assert np.array_equal(label, np.array(classes)[stored])


@pytest.mark.parametrize("name", ["BraTS-SSA-00002-000", "BraTS-GoAT-00000", "BraTS-MEN-00004-000"])
def test_challenges_with_one_set_of_labels(
    name: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    challenge(tmp_path, nifti_cases, name)
    assert [case.convention for case in find_cases(tmp_path)] == ["brats2023"]
    assert "prove brats2023: leave" in refusal(tmp_path, label_convention="brats2024")


def test_challenges_whose_labels_differ_are_not_mixed(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    challenge(tmp_path, nifti_cases, "BraTS-GLI-00002-000")
    challenge(tmp_path, nifti_cases, "BraTS-PED-00002-000")
    message = refusal(tmp_path)
    assert "mean different things (BraTS-GLI-00002-000: brats2023 or brats2024;" in message
    assert "give the folder of one challenge at a time" in message
    masks = [case.mask_convention for case in find_cases(tmp_path, labels="ignored")]
    assert masks == ["brats2023", "brats_peds2024"]


def test_target_volumes_of_radiotherapy_are_no_labels(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.save(
        tmp_path / "BraTS-MEN-RT-0001-1" / "BraTS-MEN-RT-0001-1_t1c.nii.gz", nifti_cases.image()
    )
    assert "are target volumes of radiotherapy (GTV)" in refusal(tmp_path)
    assert len(find_cases(tmp_path, labels="ignored", allow_missing=True)) == 1


def test_advice_for_label_3_under_names_of_2021_can_be_followed(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path, "BraTS2021_00001")
    stored = nifti_cases.label((0, 1, 2, 3))
    nifti_cases.save(files["label"], stored)
    (case,) = find_cases(tmp_path)
    with pytest.raises(InputError, match="ET in brats2023.*choose the label_convention"):
        read_case(case, SEQUENCES)
    (case,) = find_cases(tmp_path, label_convention="brats2023")
    label = read_case(case, SEQUENCES).label
    assert np.array_equal(label, stored)
