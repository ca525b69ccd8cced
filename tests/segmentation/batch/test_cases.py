"""What is found to segment: any layout, mixed ones, faults by case, tables, DICOM."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cggm.data.brats.cases import Case
from cggm.data.errors import InputError
from cggm.pipelines.segmentation.batch.cases import (
    Found,
    find_cases_to_segment,
    holds_dicom_alone,
    subject_and_date,
    with_sequences,
)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found_in(root: Path) -> Found:
    return find_cases_to_segment(root, say=lambda _: None)


def case(name: str, layout: str = "brats2018") -> Case:
    return Case(name, {}, None, None, layout)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["P1/P1_flair.nii.gz", "P2/P2_t1.nii.gz"], ["P1", "P2"]),
        (["BraTS-GLI-00001-000/BraTS-GLI-00001-000-t1c.nii.gz"], ["BraTS-GLI-00001-000"]),
        (["Task01/imagesTr/BRATS_001.nii.gz", "Task01/imagesTs/BRATS_9.nii.gz"], None),
        (["sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"], ["sub-01_ses-1"]),
        (["P7/flair.nii.gz", "P7/T1w.nii.gz", "P8/t2.nii"], ["P7", "P8"]),
        (["flair.nii.gz", "t1.nii.gz"], ["one"]),
        (["UPENN-GBM-00001_11/UPENN-GBM-00001_11_FLAIR.nii.gz"], ["UPENN-GBM-00001_11"]),
    ],
)
def test_layouts(names: list[str], expected: list[str] | None, tmp_path: Path) -> None:
    touch(tmp_path / "one", *names)
    found = found_in(tmp_path / "one")
    assert [one.name for one in found.cases] == (expected or ["BRATS_001", "BRATS_9"])
    assert not found.problems


def test_names_of_several_kinds_and_faults_beside_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "P1/flair.nii.gz", "P2/P2_t1ce.nii.gz", "P3/P3-t2f.nii.gz")
    touch(tmp_path, "P4/brain.nii.gz", "P5/t1.nii.gz", "P5/T1w.nii.gz", "notes/list.txt")
    (tmp_path / "P6").mkdir()
    found = found_in(tmp_path)
    assert [one.name for one in found.cases] == ["P1", "P2", "P3"]
    assert list(found.problems) == ["P5", "P4", "P6"]
    assert "2 files for t1" in found.problems["P5"] and "brain.nii.gz" in found.problems["P4"]


def test_files_of_a_patient_that_are_not_recognized_are_told(tmp_path: Path) -> None:
    odd = ("my_t2.nii.gz", "t1_km.nii.gz", "flair_axial.nii.gz", "my_mask.nii.gz")
    touch(tmp_path, *(f"S2/{name}" for name in odd))
    touch(tmp_path, "P1/P1_flair.nii.gz", "P1/P1_pd.nii.gz", "P1/P1_adc.nii.gz")
    touch(tmp_path, *(f"P3/P3_{name}.nii.gz" for name in ("flair", "t1", "t1ce", "t2", "pd")))
    found = found_in(tmp_path)
    assert [one.name for one in found.cases] == ["P1", "P3", "S2"]  # S2, not "my"
    assert {name: one.sentence for name, (one,) in found.findings.items()} == {
        "P1": "1 NIfTI file beside its images not recognized: P1_pd.nii.gz",
        "S2": "2 NIfTI files beside its images not recognized: flair_axial.nii.gz (flair?), "
        "t1_km.nii.gz (t1ce?)",
    }


def test_a_fault_in_a_flat_folder_is_of_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "P1_flair.nii.gz", "P1_flair.nii", "P2_flair.nii.gz", "P2_t1.nii.gz")
    found = found_in(tmp_path)
    assert [one.name for one in found.cases] == ["P2"]
    assert "2 files for flair" in found.problems["P1"]


def test_dicom_is_recognized_however_deep_and_only_without_nifti(tmp_path: Path) -> None:
    assert not holds_dicom_alone(tmp_path)
    touch(tmp_path, "DICOM/A/B/C/D/E/F/1.dcm", "readme.txt")
    assert holds_dicom_alone(tmp_path)
    touch(tmp_path, "P1/P1_flair.nii.gz")
    assert not holds_dicom_alone(tmp_path) and not holds_dicom_alone(tmp_path / "readme.txt")


def test_of_many_patients_one_image_tells_that_they_are_no_dicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"P{number}/flair.nii.gz" for number in range(20)))
    opened, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))
    assert not holds_dicom_alone(tmp_path)
    assert len(opened) < 5


def test_a_table_names_files_subjects_and_days(tmp_path: Path) -> None:
    lines = ["case,flair,t1ce,date,subject", "A1,in/a.nii.gz,in/b.nii.gz,2024-03-01,A", "A2,,,,"]
    (tmp_path / "cases.csv").write_text("\n".join([*lines, "Ä,x.nii,,,"]), encoding="utf-8")
    found = found_in(tmp_path / "cases.csv")
    (one,) = found.cases
    assert {name: source.path for name, source in one.images.items()} == {
        "flair": tmp_path / "in/a.nii.gz",
        "t1ce": tmp_path / "in/b.nii.gz",
    }
    assert found.told(one)[:2] == ("A", "2024-03-01")
    assert "no file" in found.problems["A2"] and "no usable ID" in found.problems["Ä"]
    (tmp_path / "cases.csv").write_text("case,flair\nA,a.nii\nA,b.nii\n")
    with pytest.raises(InputError, match="come more than once"):
        found_in(tmp_path / "cases.csv")
    (tmp_path / "cases.csv").write_text("case,files\nA,a.nii\n")
    with pytest.raises(InputError, match="expected one or more of flair, t1, t1ce, t2"):
        found_in(tmp_path / "cases.csv")


def test_a_datalist_of_monai(tmp_path: Path) -> None:
    def written(content: object) -> Path:
        (tmp_path / "list.json").write_text(json.dumps(content))
        return tmp_path / "list.json"

    entries = [
        {"image": ["P1/P1_flair.nii.gz", "P1/P1_t1ce.nii.gz"], "label": "P1/P1_seg.nii.gz"},
        {"image": "P2/P2-t1c.nii.gz", "fold": 0},
        {"id": "X", "subject": "S", "date": "2024-03-01", "T1w": "a.nii", "t2": "b.nii"},
        {"image": ["P3/flair.nii.gz", "P3/t2.nii.gz"]},
    ]
    found = found_in(written({"training": entries[:1], "testing": entries[1:], "name": "BraTS"}))
    files = {one.name: {k: s.path for k, s in one.images.items()} for one in found.cases}
    assert files == {
        "P1": {
            "flair": tmp_path / "P1/P1_flair.nii.gz",
            "t1ce": tmp_path / "P1/P1_t1ce.nii.gz",
        },
        "P2": {"t1ce": tmp_path / "P2/P2-t1c.nii.gz"},
        "X": {"t1": tmp_path / "a.nii", "t2": tmp_path / "b.nii"},
        "P3": {"flair": tmp_path / "P3/flair.nii.gz", "t2": tmp_path / "P3/t2.nii.gz"},
    }
    (x,) = (one for one in found.cases if one.name == "X")
    assert found.told(x)[:2] == ("S", "2024-03-01") and not found.problems
    assert len(found_in(written(entries)).cases) == 4
    for content, words in (
        ([{"image": ["a_0000.nii.gz"]}], "entry 1 of .* does not tell its sequence"),
        ([{"image": ["a_t1.nii.gz", "b_t1.nii.gz"]}], "or another file has it"),
        ([{"label": "a.nii.gz"}], "it has no files"),
        ([{"image": 5}], "image is 5; expected a file, or a list of files"),
        ({"testing": []}, "holds no list of cases"),
        ([entries[0], entries[0]], "come more than once"),
    ):
        with pytest.raises(InputError, match=words):
            found_in(written(content))


def test_a_folder_for_each_date_of_a_patient(tmp_path: Path) -> None:
    touch(tmp_path, "P01/2024-03-01/flair.nii.gz", "P01/20240601/flair.nii.gz")
    touch(tmp_path, "Ward/2024-03-01/MR_t1.nii.gz", "Ward/2024-06-01/MR_t1.nii.gz")
    touch(tmp_path, "Ward/2024-06-01/t1_km.nii.gz", "P2/left/t1.nii.gz", "2024-03-01/t1.nii.gz")
    found = found_in(tmp_path)
    assert {one.name: found.told(one)[:2] for one in found.cases} == {
        "2024-03-01": ("2024-03-01", None),  # whose folder it is may not be told to anybody
        "P01_2024-03-01": ("P01", "2024-03-01"),
        "P01_2024-06-01": ("P01", "2024-06-01"),
        "Ward_2024-03-01": ("Ward", "2024-03-01"),
        "Ward_2024-06-01": ("Ward", "2024-06-01"),
        "left": ("left", None),
    }


def test_folders_of_one_name_are_named_by_their_patients(tmp_path: Path) -> None:
    touch(tmp_path, "P01/nifti/flair.nii.gz", "P02/nifti/flair.nii.gz", "P03/mri/t1.nii.gz")
    touch(tmp_path, "P04/2024-03-01/nifti/t1.nii.gz", "P04/2024-06-01/nifti/t1.nii.gz")
    touch(tmp_path, "P05/pre/nifti/t2.nii.gz", "P05/scan1/nifti/t2.nii.gz")
    touch(tmp_path, "P06/t2.nii.gz", "P06/nifti/t2.nii.gz")
    touch(tmp_path, "A/P07/t2.nii.gz", "B/P07/t2.nii.gz", "B/scan1/t2.nii.gz")
    names = [one.name for one in found_in(tmp_path).cases]
    dated = ["P04_2024-03-01", "P04_2024-06-01"]
    assert sorted(names) == [
        *("A_P07", "B_P07", "B_scan1", "P01", "P02", *dated, "P05_scan1", "P06", "P06_nifti"),
        *("mri", "pre"),
    ]


def test_days_of_dicom_come_from_its_record(tmp_path: Path) -> None:
    touch(tmp_path, "P-0001-2/P-0001-2_t1.nii.gz")
    record = '{"format": "cggm case of DICOM", "day": 84}'
    (tmp_path / "P-0001-2" / "P-0001-2.json").write_text(record)
    (one,) = found_in(tmp_path).cases
    assert subject_and_date(one) == ("P-0001", "day 84")


def test_only_sequences_of_the_network_count(tmp_path: Path) -> None:
    touch(tmp_path, "P1/P1_t2.nii.gz", "P1/P1_flair.nii.gz")
    (one,) = found_in(tmp_path).cases
    assert list(with_sequences(one, ["t2", "t1ce"]).images) == ["t2"]
    with pytest.raises(InputError, match="case P1 has flair, t2; expected one or more of t1ce"):
        with_sequences(one, ["t1ce"])
