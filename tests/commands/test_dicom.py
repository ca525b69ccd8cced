"""`cggm dicom`: from mixed files to cases and a table, and what it tells of a patient."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom", reason="extra dicom")

from typer.testing import CliRunner  # noqa: E402

from cggm.data.brats.nifti import read_nifti  # noqa: E402
from cggm.data.brats.cases import find_cases  # noqa: E402
from cggm.data.errors import InputError  # noqa: E402
from cggm.pipelines.commands.dicom import app  # noqa: E402

from ..dicom_series import BIRTH, ID, NAME, voxels, write_series  # noqa: E402

FOUR = {"flair": "t2_flair", "t1": "t1_mprage nativ", "t1ce": "t1_mprage KM", "t2": "t2_tse"}
OTHER = ("Jansen^Piet", "Q-99 812", "19501231")


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, InputError):
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def write_study(folder: Path, sequences: dict[str, str] = FOUR, **options) -> None:
    for number, description in enumerate(sequences.values(), 1):
        write_series(
            folder / str(number),
            seed=number,
            SeriesNumber=number,
            SeriesDescription=description,
            **options,
        )


def rows(output: Path) -> list[dict[str, str]]:
    with open(output / "series.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def edit(output: Path, number: str, **cells: str) -> None:
    edited = [row | (cells if row["number"] == number else {}) for row in rows(output)]
    with open(output / "series.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, edited[0].keys())
        writer.writeheader()
        writer.writerows(edited)


def test_two_patients_become_cases_that_are_recognized(tmp_path: Path) -> None:
    write_study(tmp_path / "in" / NAME)
    write_study(tmp_path / "in" / "b", {"t2": "T2"}, patient=OTHER, study="1.2.3.2")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "5 series of 2 examinations of 2 patients" in output
    cases = find_cases(tmp_path / "out", labels="ignored", allow_missing=True)
    assert [case.name for case in cases] == ["P-0001-1", "P-0002-1"]
    full = max(cases, key=lambda case: len(case.images))
    assert set(full.images) == set(FOUR)
    for number, sequence in enumerate(FOUR, 1):
        image = nib.load(full.images[sequence].path)
        np.testing.assert_array_equal(np.asarray(image.dataobj), voxels(number))


def test_no_output_tells_name_id_or_birth_date(tmp_path: Path) -> None:
    private = f"{NAME.split('^')[0]} {ID}"
    write_study(tmp_path / "in" / NAME, {"t2": f"t2_tse {private}"}, ProtocolName=private)
    write_study(tmp_path / "in" / ID, {"t1": f"t1 km {private}"}, study="1.2.3.2", date="20240310")
    (tmp_path / "in" / "broken.dcm").write_bytes(b"no DICOM")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0, output
    content = output.encode()
    for path in (tmp_path / "out").rglob("*"):
        content += str(path.relative_to(tmp_path)).encode()
        if path.name.endswith(".nii.gz"):
            content += nib.load(path).to_bytes()
        elif path.is_file():
            content += path.read_bytes()
    for text in (*NAME.split("^"), ID, BIRTH, "1964-08-12"):
        assert text.encode().lower() not in content.lower()
    assert b"broken.dcm cannot be read" in content
    assert {row["case"]: row["day"] for row in rows(tmp_path / "out")} == {
        "P-0001-1": "0",
        "P-0001-2": "10",
    }


def test_ids_and_a_private_list_come_only_when_asked_for(tmp_path: Path) -> None:
    write_study(tmp_path / "in", {"t2": "T2"}, patient=OTHER)
    run("convert", tmp_path / "in", tmp_path / "out", "--keep_ids")
    assert rows(tmp_path / "out")[0]["case"] == "Q-99_812-1"
    mapping = tmp_path / "private.csv"
    run("convert", tmp_path / "in", tmp_path / "numbers", "--mapping", mapping)
    assert "P-0001-1,Q-99 812,Jansen^Piet,20240229,1.2.3.1" in mapping.read_text()
    # A later examination of a known patient, in another tree, gets the next number.
    write_study(tmp_path / "new", {"t2": "T2"}, patient=OTHER, study="1.2.3.7")
    write_study(tmp_path / "new" / "x", {"t2": "T2"}, study="1.2.3.8")
    write_study(tmp_path / "new" / "old", {"t2": "T2"}, patient=OTHER)
    run("convert", tmp_path / "new", tmp_path / "later", "--mapping", mapping)
    assert {row["case"] for row in rows(tmp_path / "later")} == {
        "P-0001-1",
        "P-0001-2",
        "P-0002-1",
    }


def test_of_two_series_for_a_sequence_the_thinner_one_is_taken(tmp_path: Path) -> None:
    write_study(tmp_path / "in", {"thick": "t1 km tra"})
    thin = {"step": 1.0, "SeriesNumber": 9, "SeriesDescription": "t1 mprage km"}
    write_series(tmp_path / "in" / "thin", seed=9, **thin)
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "preferred to 1 other of t1ce" in output
    found = {row["number"]: row for row in rows(tmp_path / "out")}
    assert (found["9"]["use"], found["1"]["use"]) == ("yes", "no")
    assert found["1"]["reason"] == "series 9 is t1ce, too, and thinner"
    image = nib.load(tmp_path / "out" / "P-0001-1" / "P-0001-1_t1ce.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels(9))


def test_a_doubtful_case_waits_for_the_table_and_then_follows_it(tmp_path: Path) -> None:
    write_study(tmp_path / "in", {"a": "t1 3d", "b": "t1 3d", "c": "t2"})
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "1 case wait for you (P-0001-1)" in output
    assert "several T1, of which words do not say before or after contrast" in output
    assert not (tmp_path / "out" / "P-0001-1").exists()
    edit(tmp_path / "out", "1", use="yes")
    edit(tmp_path / "out", "2", sequence="t1ce", use="yes")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "t1, t1ce, t2; without flair" in output
    image = nib.load(tmp_path / "out" / "P-0001-1" / "P-0001-1_t1ce.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels(2))
    _, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert "(finished before)" in output
    edit(tmp_path / "out", "2", use="no")
    run("convert", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "P-0001-1" / "P-0001-1_t1ce.nii.gz").exists()


def test_a_wrong_table_is_refused_with_a_sentence(tmp_path: Path) -> None:
    write_study(tmp_path / "in", {"a": "t2", "b": "t1"})
    run("convert", tmp_path / "in", tmp_path / "out")
    edit(tmp_path / "out", "1", sequence="t1", use="yes")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "another series is t1, too; set use of one to no" in output
    edit(tmp_path / "out", "1", use="maybe")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "use is 'maybe'; expected yes, no, ?" in output


def test_a_bad_series_stops_no_other(tmp_path: Path) -> None:
    write_study(tmp_path / "in")
    next((tmp_path / "in" / "2").iterdir()).unlink()  # the names are random: a slice in the middle
    for path in (tmp_path / "in" / "3").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:-40])  # cut off
    write_study(tmp_path / "in" / "b", {"t2": "T2"}, patient=OTHER, study="1.2.3.2")
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 1
    failed = (tmp_path / "out" / "failed.csv").read_text()
    assert "series 3 (t1_mprage KM): the pixels of its slice 1 cannot be read" in failed
    assert [row["use"] for row in rows(tmp_path / "out") if row["number"] == "2"] == ["no"]
    (case,) = find_cases(tmp_path / "out", labels="ignored", allow_missing=True)
    assert json.loads((tmp_path / "out" / case.name / f"{case.name}.json").read_text())["sequences"]
    assert read_nifti(case.images["t2"].path, "t2").voxels.shape[:3] == voxels().shape


def test_compressed_pixels_without_a_decoder_name_the_package(tmp_path: Path) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLosslessSV1

    for path in write_series(tmp_path / "in"):
        content = path.read_bytes()
        plain = b"1.2.840.10008.1.2.1\x00"
        # The same length of the group, so that only the syntax is another.
        assert content.count(plain) == 1
        path.write_bytes(content.replace(plain, b"1.2.840.10008.1.2.\x31\x00"))
    assert get_decoder(JPEGLosslessSV1) is not None
