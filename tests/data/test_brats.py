"""Finding cases: every layout, every way in which names on disk go wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from cggm.data.brats.cases import SEQUENCES, Case, Source, describe, find_cases
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        find_cases(folder, **settings)  # pyright: ignore[reportArgumentType]
    return str(error.value)


def test_2018_layout_with_grades_spaces_and_accents(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    root = tmp_path / "BraTS 2018 Zürich"
    nifti_cases.case(root / "LGG", "Brats18_B", suffix=".nii")
    files = nifti_cases.case(root / "HGG", "Brats18_A")
    first, second = find_cases(root)
    assert first == Case(
        "Brats18_A",
        {key: Source(files[key]) for key in SEQUENCES},
        Source(files["label"]),
        "brats2021",
        "brats2018",
    )
    assert second.name == "Brats18_B"
    assert pickle.loads(pickle.dumps(second)) == second


@pytest.mark.parametrize("convention", ["brats2023", "brats2024"])
def test_2023_layout_with_a_chosen_convention(
    convention: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path, "BraTS-GLI-00000-000", layout="brats2023")
    (case,) = find_cases(tmp_path, label_convention=convention)
    assert (case.layout, case.convention) == ("brats2023", convention)
    assert case.images["t1ce"].path == files["t1ce"]


def test_2023_layout_never_guesses_the_convention(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, layout="brats2023")
    for labels in ("required", "optional"):
        message = refusal(tmp_path, labels=labels)
        assert "choose brats2023 or brats2024; one value means different things" in message
    (case,) = find_cases(tmp_path, labels="ignored")
    assert case.convention is None and case.label is None


def test_a_convention_against_the_layout_is_refused(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path)
    message = refusal(tmp_path, label_convention="brats2024")
    assert "the file names of" in message
    assert "mean brats2021 or brats2023 or msd: correct label_convention" in message
    assert find_cases(tmp_path, label_convention="brats2021") == find_cases(tmp_path)
    assert "no label convention is called 'x'" in refusal(tmp_path, label_convention="x")


def test_msd_layout_in_the_published_order(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    path = nifti_cases.msd(tmp_path / "Task01_BrainTumour")
    (tmp_path / "Task01_BrainTumour" / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"mac")
    (case,) = find_cases(tmp_path)
    assert (case.name, case.layout, case.convention) == ("BRATS_001", "msd", "msd")
    assert case.images == {key: Source(path, i, 4) for i, key in enumerate(SEQUENCES)}


@pytest.mark.parametrize(
    "description",
    [
        {"modality": {"0": "T2w", "1": "t1gd", "2": "T1w", "3": "FLAIR"}},
        {"channel_names": {"0": "t2", "1": "t1ce", "2": "t1", "3": "flair"}},
    ],
)
def test_msd_order_is_read_from_the_description(
    description: dict[str, object], tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.msd(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    (case,) = find_cases(tmp_path, sequences=["flair", "t2"])
    assert {key: source.channel for key, source in case.images.items()} == {"flair": 3, "t2": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "dataset.json cannot be read (JSONDecodeError"),
        ("[]", "dataset.json cannot be read (TypeError: it holds a list"),
        ('{"modality": {"1": "FLAIR"}}', "dataset.json cannot be read (KeyError"),
        ('{"modality": {"0": "CT"}}', "names the volumes ['CT']; expected each of FLAIR, T1w"),
        ('{"modality": {"0": "T1", "1": "T1w"}}', "names the volumes ['T1', 'T1w']"),
    ],
)
def test_msd_description_that_makes_no_sense(
    text: str, words: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.msd(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    assert words in refusal(tmp_path)


def test_msd_case_without_label_or_volume(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.msd(tmp_path, "A", volumes=2)
    (tmp_path / "labelsTr" / "A.nii.gz").unlink()
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "FLAIR", "1": "T1w"}}')
    message = refusal(tmp_path)
    assert "3 problems in the 1 case of" in message
    assert "case A: no file for t1ce (tried imagesTr/A.nii.gz" in message
    assert "case A: no file for label (tried labelsTr/A.nii.gz" in message


def test_a_folder_may_be_one_case(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    assert [case.name for case in find_cases(tmp_path / "P1")] == ["P1"]
    assert [case.name for case in find_cases(str(tmp_path / "P1"))] == ["P1"]


def test_links_are_followed_and_a_loop_ends(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path / "store", "P1")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "P1").symlink_to(tmp_path / "store" / "P1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "loop").symlink_to(tmp_path / "empty")
    assert [case.name for case in find_cases(tmp_path / "cases")] == ["P1"]
    assert "no case was recognized" in refusal(tmp_path / "empty")
    nifti_cases.case(tmp_path / "deep" / "2" / "3" / "4" / "5" / "6", "P1")
    message = refusal(tmp_path / "deep")
    assert "0 NIfTI files of 0 files" in message
    assert "1 folder (2/3/4/5/6/P1), too deep to be looked into" in message


def test_other_files_do_not_matter(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    for name in ("._P1_t1.nii.gz", ".P1_t1.nii.gz", "notes.txt", "P1_t1.json", "P1_mask.nii.gz"):
        (tmp_path / "P1" / name).write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "P2_t1.nii.gz").write_text("x")
    assert len(find_cases(tmp_path)) == 1


def test_missing_sequence_names_case_sequence_and_names_tried(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1", without=["t1ce"])
    assert refusal(tmp_path) == (
        "case P1: no file for t1ce (tried P1_t1ce.nii.gz, also without .gz, in "
        f"{tmp_path / 'P1'}): add it, or go without it (--allow_missing)"
    )
    (case,) = find_cases(tmp_path, allow_missing=True)
    assert list(case.images) == ["flair", "t1", "t2"]
    (case,) = find_cases(tmp_path, sequences=["t2", "flair"])
    assert list(case.images) == ["t2", "flair"]


def test_a_sequence_in_another_format_is_named_and_never_passed_over(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    """Pairs of Analyze, volumes of Slicer and FreeSurfer: no reason to go on without them."""
    nifti_cases.case(tmp_path, "P1", without=["flair"])
    other = tmp_path / "P1" / "P1_flair.mha"
    other.touch()
    for allow_missing in (False, True):
        message = refusal(tmp_path, allow_missing=allow_missing)
        assert message == (
            f"case P1: no file for flair, but {other}, which is no NIfTI file: convert it to "
            "P1_flair.nii.gz"
        )


def test_allowing_missing_sequences_needs_one_and_the_label(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, "P1", without=["flair", "label"])
    assert "case P1: no file for label" in refusal(tmp_path, allow_missing=True)
    message = refusal(tmp_path, allow_missing=True, labels="ignored", sequences=["flair"])
    assert message == "case P1: no file for any of flair"


def test_misnamed_file_is_pointed_at(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, "BraTS20_Training_355")
    files["label"].rename(files["label"].with_name("W39_1998.09.19_Segm.nii.gz"))
    message = refusal(tmp_path)
    assert "no file for label" in message
    assert message.endswith("that folder also holds W39_1998.09.19_Segm.nii.gz: rename it?")


def test_labels_required_optional_ignored(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", without=["label"])
    assert 'use labels="ignored" if no label is needed' in refusal(tmp_path)
    assert [case.label is None for case in find_cases(tmp_path, labels="optional")] == [False, True]
    assert [case.label is None for case in find_cases(tmp_path, labels="ignored")] == [True, True]


def test_a_label_alone_is_no_case(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", without=SEQUENCES)
    assert refusal(tmp_path) == "case P2: no file for any of flair, t1, t1ce, t2"
    assert [case.name for case in find_cases(tmp_path, labels="ignored")] == ["P1"]


def test_two_files_for_one_sequence(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, "P1")
    double = files["t1"].with_name("P1_t1.nii")
    double.write_bytes(b"x")
    message = refusal(tmp_path)
    assert message.startswith("case P1: 2 files for t1: ")
    assert str(files["t1"]) in message and str(double) in message


def test_two_folders_with_one_case_id(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    first = nifti_cases.case(tmp_path / "HGG", "P1")
    second = nifti_cases.case(tmp_path / "LGG", "P1")
    message = refusal(tmp_path)
    assert message.startswith("5 problems in the 1 case of")
    assert all(str(files[key]) in message for files in (first, second) for key in files)


def test_all_broken_cases_are_reported(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for number in range(13):
        nifti_cases.case(tmp_path, f"P{number:02}", without=["t1", "t1ce", "t2", "label"])
    headline, *lines = refusal(tmp_path, sequences=["flair"]).splitlines()
    assert headline == f"13 problems in the 13 cases of {tmp_path}:"
    assert len(lines) == 11
    assert lines[0].startswith("  case P00: no file for label")
    assert lines[-1] == "  … and 3 more"


@pytest.mark.parametrize("name", ["P 1", "Pé", "P;1", "x" * 129])
def test_case_ids_that_make_bad_file_names(
    name: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path, name)
    message = refusal(tmp_path)
    assert f"case {name!r}" in message
    assert "expected 1 to 128 letters A-Z, digits, dots, dashes or underscores" in message


def test_nothing_recognized_shows_names_and_layouts(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"scan{number}.nii.gz").write_bytes(b"x")
    (tmp_path / "P1_seg.nii.gz").write_bytes(b"x")
    message = refusal(tmp_path)
    assert "6 NIfTI files of 6 files, such as P1_seg.nii.gz, scan0.nii.gz, scan1.nii.gz;" in message
    assert all(layout in message for layout in ("brats2018 (<ID>_{flair", "brats2023 (", "msd ("))


def test_no_images_at_all(tmp_path: Path) -> None:
    assert "0 NIfTI files of 0 files: it is empty; expected a layout of" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert "0 NIfTI files of 1 file, such as notes.txt" in refusal(tmp_path)


def test_two_layouts_in_one_folder(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", layout="brats2023")
    message = refusal(tmp_path)
    assert "holds files of 2 layouts" in message and "P1" in message and "P2" in message
    assert [case.name for case in find_cases(tmp_path, layout="brats2018")] == ["P1"]
    assert "expected a layout of: msd" in refusal(tmp_path, layout="msd")


def test_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file; expected a folder" in refusal(tmp_path / "file")
    assert "does not exist; expected a folder" in refusal(tmp_path / "absent")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sequences": ["t1c"]}, "sequences is ['t1c']; expected one or more of ['flair'"),
        ({"sequences": []}, "sequences is []"),
        ({"sequences": ["t1", "t1"]}, "each once"),
        (
            {"layout": "brats2020"},
            "no layout is called 'brats2020'; known are ['auto', 'ucsf_pdgm', 'upenn_gbm', 'bids'",
        ),
        ({"labels": "no"}, "labels is 'no'; expected one of ['required'"),
    ],
)
def test_unknown_settings(settings: dict[str, object], words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, **settings)


def test_description_in_one_line(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")
    nifti_cases.case(tmp_path, "P2", without=["t1ce", "label"])
    cases = find_cases(tmp_path, allow_missing=True, labels="optional")
    assert describe(cases) == (
        "2 cases, layout brats2018, labels brats2021, sequences flair, t1, t1ce, t2; "
        "1 without t1ce; 1 without a label"
    )
    assert describe([]) == "no cases"
