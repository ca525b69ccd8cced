"""Folders of cases: faults stop no other, nothing is done twice, nothing is half there."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.locks import lock_or_refuse
from cggm.data.phantom.head import Head
from cggm.pipelines.commands import prepare as command
from cggm.pipelines.segmentation.preparation.batch import prepare_cases
from cggm.pipelines.segmentation.preparation.case_list import find_cases_to_prepare

from .conftest import SETTINGS
from .scans import VOXELS, grid_of, save


def table(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def copied(scans: Path, prepared: Path, folder: Path) -> tuple[Path, Path]:
    """A hospital's folder and an output folder of a test's own, with P01 finished."""
    shutil.copytree(scans, folder / "in")
    shutil.copytree(prepared, folder / "out")
    return folder / "in", folder / "out"


def test_faults_are_named_and_stop_no_other(
    scans: Path,
    prepared: Path,
    head: Head,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside the finished P01: a truncated file, no brain mask, and a bottle instead of a head."""
    source, output = copied(scans, prepared, tmp_path)
    for name in ("P02", "P03", "P04"):
        shutil.copytree(source / "P01", source / name)
        for file in sorted((source / name).iterdir()):
            file.rename(file.with_name(file.name.replace("P01", name)))
        for sequence in ("flair", "t2"):
            (source / name / f"{name}_{sequence}.nii.gz").unlink()
    whole = (source / "P02" / "P02_t1ce.nii.gz").read_bytes()
    (source / "P02" / "P02_t1ce.nii.gz").write_bytes(whole[: len(whole) // 2])
    (source / "P03" / "P03_skullless.nii.gz").unlink()
    shape, affine = grid_of(head, VOXELS["flair"])
    bottle = np.random.default_rng(0).integers(0, 20, shape).astype(np.int16)
    bottle[55:75, 60:90, 15:25] += 900
    save(source / "P04" / "P04_t2.nii.gz", bottle, affine)

    stop = pytest.raises(command.typer.Exit)
    with stop as end:
        command.main(source, output, brain_mask="skullless", spacing=3.0)
    assert end.value.exit_code == 1
    said = capsys.readouterr().out
    assert "1/4 P01: finished before" in said
    assert "of 4 cases 0 prepared (0 with warnings), 1 finished before, 3 failed, see" in said
    failed = {name: row["reason"] for name, row in table(output / "failed.csv").items()}
    assert list(failed) == ["P02", "P03", "P04"]
    assert "P02_t1ce.nii.gz is a damaged or truncated gzip file" in failed["P02"]
    assert "no brain mask called skullless" in failed["P03"]
    assert "the heads of t2 and t1ce overlap by" in failed["P04"]
    assert (output / "failed" / "P04.png").is_file()
    assert list(table(output / "prepared.csv")) == ["P01"]
    assert not any((output / name).exists() for name in failed)

    # Mended by taking the sequence away; no other case is touched or forgotten.
    (source / "P04" / "P04_t2.nii.gz").unlink()
    before = (output / "P01" / "P01.json").stat().st_mtime_ns
    with stop:
        command.main(source, output, brain_mask="skullless", spacing=3.0)
    assert list(table(output / "failed.csv")) == ["P02", "P03"]
    assert list(table(output / "prepared.csv")) == ["P01", "P04"]
    assert table(output / "prepared.csv")["P04"]["sequences"] == "t1ce"
    assert not (output / "failed" / "P04.png").exists()
    assert (output / "P01" / "P01.json").stat().st_mtime_ns == before


def test_a_case_is_finished_only_from_the_same_files(
    scans: Path, prepared: Path, tmp_path: Path
) -> None:
    """Copied files are recognized by their digest; a damaged output is no finished case."""
    source, output = copied(scans, prepared, tmp_path)
    for path in (source / "P01").iterdir():
        path.touch()
    cases, _ = find_cases_to_prepare(source)
    assert prepare_cases(cases, output, SETTINGS).earlier == ["P01"]
    (output / "P01" / "P01_t2.nii.gz").write_bytes(b"")
    (source / "P01" / "P01_t1ce.nii.gz").write_bytes(b"")  # would fail if it were begun again
    outcome = prepare_cases(cases, output, SETTINGS)
    assert list(outcome.failed) == ["P01"] and not outcome.earlier


def test_a_case_in_hand_of_another_process_is_left_to_it(scans: Path, tmp_path: Path) -> None:
    cases, _ = find_cases_to_prepare(scans)
    with lock_or_refuse(tmp_path / ".locks" / "P01.lock", "held by the test"):
        outcome = prepare_cases(cases, tmp_path, SETTINGS)
    assert outcome.elsewhere == ["P01"] and not outcome.done and not outcome.failed


def test_a_folder_of_somebody_else_is_never_replaced(scans: Path) -> None:
    """Output = input: the images are still there."""
    cases, _ = find_cases_to_prepare(scans)
    names = sorted(path.name for path in (scans / "P01").iterdir())
    outcome = prepare_cases(cases, scans, SETTINGS)
    assert "holds files and is no prepared case" in outcome.failed["P01"]
    assert sorted(path.name for path in (scans / "P01").iterdir()) == names
    for file in ("prepared.csv", "failed.csv"):
        (scans / file).unlink(missing_ok=True)
    shutil.rmtree(scans / ".locks")


def test_a_folder_for_each_patient_is_read(tmp_path: Path) -> None:
    names = ("Patient-7/FLAIR.nii.gz", "Patient-7/T1_CE.nii", "Müller 3/t2.nii.gz")
    doubled = ("P9/t1.nii", "P9/T1w.nii.gz")
    for name in (*names, *doubled):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases, problems = find_cases_to_prepare(tmp_path)
    assert [case.name for case in cases] == ["Patient-7"]
    assert {key: source.path.name for key, source in cases[0].images.items()} == {
        "flair": "FLAIR.nii.gz",
        "t1ce": "T1_CE.nii",
    }
    assert "gives no usable ID" in problems["Müller 3"] and "2 files for t1" in problems["P9"]


def test_files_that_are_named_alike_in_every_folder_belong_to_their_folder(tmp_path: Path) -> None:
    for patient in ("P01", "P02", "P03"):
        for name in ("flair", "t1ce", *(["t2"] if patient == "P02" else [])):
            (tmp_path / patient).mkdir(exist_ok=True)
            (tmp_path / patient / f"scan_{name}.nii.gz").touch()
    cases, problems = find_cases_to_prepare(tmp_path)
    assert not problems
    assert {case.name: sorted(case.images) for case in cases} == {
        "P01": ["flair", "t1ce"],
        "P02": ["flair", "t1ce", "t2"],
        "P03": ["flair", "t1ce"],
    }
    assert all(source.path.parent.name == c.name for c in cases for source in c.images.values())


def test_two_patients_are_never_joined_into_one(tmp_path: Path) -> None:
    """Names that are alike, and sequences that do not meet: one in each folder may be one case."""
    for place in ("P01/scan_flair", "P01/scan_t1", "P02/scan_t1ce", "P02/scan_t2"):
        (tmp_path / "two" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "two" / f"{place}.nii.gz").touch()
    cases, problems = find_cases_to_prepare(tmp_path / "two")
    assert not cases and "its images lie in" in problems["scan"] and "P02; exp" in problems["scan"]
    for sequence in ("flair", "t1ce"):
        for patient in ("P01", "P02"):
            path = tmp_path / "one" / sequence / f"{patient}_{sequence}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    cases, problems = find_cases_to_prepare(tmp_path / "one")
    assert [case.name for case in cases] == ["P01", "P02"] and not problems


def test_nothing_to_prepare_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no case was recognized"):
        find_cases_to_prepare(tmp_path)
