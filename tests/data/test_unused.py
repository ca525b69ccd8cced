"""What lies in a folder and is not used is named, in a sentence for each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from cggm.data.brats.cases import find_cases
from cggm.data.brats.embedded import cases_to_segment
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter


def notes_on(folder: Path, **settings: object) -> list[str]:
    notes: list[str] = []
    find_cases(folder, say=notes.append, **settings)  # pyright: ignore[reportArgumentType]
    return notes


def test_a_tidy_folder_is_not_talked_about(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for name in ("P1", "P2"):
        nifti_cases.case(tmp_path / "HGG", name)
        for other in ("P_adc", f"{name}_t1_orig", "brain_mask"):
            nifti_cases.save(tmp_path / "HGG" / name / f"{other}.nii.gz", nifti_cases.image())
        (tmp_path / "HGG" / name / "report.pdf").write_bytes(b"x")
    nifti_cases.save(tmp_path / "P1_adc.nii.gz", nifti_cases.image())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("x")
    (tmp_path / ".cache" / "P3").mkdir(parents=True)
    assert notes_on(tmp_path) == []
    assert notes_on(tmp_path, labels="ignored") == []


def test_empty_folders_of_cases(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    """As a copy of BraTS 2023 unpacks: folders that are empty, or hold folders named as files."""
    nifti_cases.case(tmp_path, "BraTS-GLI-00000-000", layout="brats2023")
    for number in range(1, 4):
        case = f"BraTS-GLI-0000{number}-000"
        (tmp_path / case / f"{case}-t1c.nii").mkdir(parents=True)
    (tmp_path / "BraTS-GLI-00004-000").mkdir()
    (tmp_path / "BraTS-GLI-00005-000").mkdir()
    (tmp_path / "BraTS-GLI-00005-000" / "notes.txt").write_text("x")
    assert notes_on(tmp_path, label_convention="brats2023") == [
        "not used: 5 folders (BraTS-GLI-00001-000, BraTS-GLI-00002-000, BraTS-GLI-00003-000 and 2 "
        "more) without any image"
    ]


def test_folders_named_as_files_that_hold_the_files_are_read(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    for path in nifti_cases.case(tmp_path, "P1", suffix=".nii").values():
        folder = path.rename(path.with_name("moved"))
        path.mkdir()
        folder.rename(path / path.name)
    assert [case.name for case in find_cases(tmp_path)] == ["P1"]
    assert notes_on(tmp_path) == []


def test_a_sequence_that_is_an_empty_folder(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, "P1")
    files["t2"].unlink()
    files["t2"].mkdir()
    assert notes_on(tmp_path, allow_missing=True) == [
        "not used: 1 folder (P1/P1_t2.nii.gz) without any image"
    ]


def test_a_label_without_images_is_named_where_labels_do_not_matter(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", without=["flair", "t1", "t1ce", "t2"])
    (note,) = notes_on(tmp_path, labels="ignored")
    assert note.startswith("not used: 1 NIfTI file (P2/P2_seg.nii.gz) of no case")


def test_files_without_a_case(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for name in ("P1", "P2"):
        nifti_cases.case(tmp_path, name)
    for name in ("Patient Müller 01/FLAIR", "Patient Müller 01/T1", "CASE-006-FLAIR"):
        nifti_cases.save(tmp_path / f"{name}.nii.gz", nifti_cases.image())
    expected = (
        "not used: 3 NIfTI files (CASE-006-FLAIR.nii.gz, Patient Müller 01/FLAIR.nii.gz and 1 "
        "more) of no case, since names are expected to be <ID>_{flair,t1,t1ce,t2,seg}.nii.gz"
    )
    assert notes_on(tmp_path) == [expected]
    for path in nifti_cases.case(tmp_path, "P3", without=["t1"]).values():
        assert path.exists()
    with pytest.raises(InputError) as error:
        find_cases(tmp_path)
    assert str(error.value).splitlines()[-1] == expected, "also when something is wrong"


def test_files_beside_a_single_case(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for path in nifti_cases.case(tmp_path, "P1").values():
        path.rename(tmp_path / path.name)
    (tmp_path / "P1").rmdir()
    nifti_cases.save(tmp_path / "Patient2.FLAIR.nii.gz", nifti_cases.image())
    nifti_cases.save(tmp_path / "P1-adc.nii.gz", nifti_cases.image())
    (note,) = notes_on(tmp_path)
    assert note.startswith("not used: 1 NIfTI file (Patient2.FLAIR.nii.gz) of no case")


def test_cases_of_another_layout_beside_a_chosen_one(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", layout="brats2023")
    (note,) = notes_on(tmp_path, layout="brats2018")
    assert note.startswith("not used: 5 NIfTI files (P2/P2-seg.nii.gz, ")


def test_dicom_is_named_with_the_tool(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for name in ("a/1.dcm", "a/2.DCM", "b/3.IMA"):
        (tmp_path / "dicom" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dicom" / name).write_bytes(b"x")
    (tmp_path / "unnamed").mkdir()
    (tmp_path / "unnamed" / "IM0001").write_bytes(bytes(128) + b"DICM")
    for folder, file in {"dicom": "a/1.dcm", "unnamed": "IM0001"}.items():
        with pytest.raises(InputError) as error:
            find_cases(tmp_path / folder)
        message = str(error.value)
        assert f"holds DICOM files such as {file} and no NIfTI file;" in message
        assert "cggm dicom convert writes it" in message
        assert "\n" not in message
    nifti_cases.case(tmp_path, "P1")
    assert notes_on(tmp_path) == ["not used: 2 folders (dicom, unnamed) without any image"]


@pytest.mark.parametrize("layout", ["brats2018", "brats2023"])
def test_inference_says_it_once(
    layout: str,
    tmp_path: Path,
    nifti_cases: NiftiCaseWriter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nifti_cases.case(tmp_path, "P1", layout=layout)
    (tmp_path / "P2").mkdir()
    cases_to_segment(tmp_path, tmp_path / "out")
    assert caplog.messages.count("not used: 1 folder (P2) without any image") == 1
