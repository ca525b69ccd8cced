"""`cggm dicom`: from mixed files to cases and a table, and what it tells of a patient."""

import csv
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom", reason="extra dicom")

from typer.testing import CliRunner  # noqa: E402

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


def write_study(folder: Path, sequences: dict[str, str] = FOUR, **options) -> dict[int, list[Path]]:
    """Write a series for each description; list the files of each by its number."""
    return {
        number: write_series(
            folder / str(number),
            seed=number,
            SeriesNumber=number,
            SeriesDescription=description,
            **options,
        )
        for number, description in enumerate(sequences.values(), 1)
    }


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
    assert code == 0 and "1 case waits for you (P-0001-1)" in output
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


def test_a_bad_series_stops_no_other_and_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    files = write_study(tmp_path / "in")
    lost, cut = files[2][3], files[3][3]
    kept = {path: path.read_bytes() for path in (lost, cut)}
    lost.unlink()
    cut.write_bytes(kept[cut][:-40])
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "flair, t2; without t1, t1ce" in output
    assert "series 2 (t1_mprage nativ): cannot be used: 1 slice missing" in output
    assert "series 3 (t1_mprage KM): cannot be used: the pixels of its slice 4" in output
    reasons = {row["number"]: row["reason"] for row in rows(tmp_path / "out")}
    assert "1 slice missing" in reasons["2"] and "the pixels of its slice 4" in reasons["3"]
    for path, content in kept.items():
        path.write_bytes(content)
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "P-0001-1: flair, t1, t1ce, t2" in output
    (case,) = find_cases(tmp_path / "out", labels="ignored")
    about = json.loads((tmp_path / "out" / case.name / f"{case.name}.json").read_text())
    assert set(about["sequences"]) == set(FOUR)


def test_a_case_without_a_usable_series_fails_alone(tmp_path: Path) -> None:
    write_study(tmp_path / "in" / "a", {"t2": "T2"})
    for path in write_study(tmp_path / "in" / "b", {"t2": "T2"}, study="1.2.3.2")[1][2:4]:
        path.unlink()
    code, output = run("convert", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "1 of 2 cases in" in output
    failed = (tmp_path / "out" / "failed.csv").read_text()
    assert "no series can be used; case P-" in failed
    assert "2 slices missing: 1 gap" in failed


def test_compressed_pixels_without_a_decoder_name_the_package(tmp_path: Path) -> None:
    import pydicom
    from pydicom.pixels import get_decoder
    from pydicom.uid import MPEG2MPML, JPEGLosslessSV1

    for syntax in (JPEGLosslessSV1, MPEG2MPML):
        folder = tmp_path / syntax.name.split()[0]
        for path in write_series(folder):
            dataset = pydicom.dcmread(path)
            dataset.PixelData = pydicom.encaps.encapsulate([b"none"])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path)
        _, output = run("convert", folder, tmp_path / "out" / folder.name)
        if syntax == MPEG2MPML:
            assert "stored as MPEG2" in output and "export them uncompressed" in output
        elif not get_decoder(syntax).is_available:
            assert "needs another package: pip install python-gdcm" in output


def test_masks_go_back_to_the_series_of_their_case(tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="extra dicom")
    write_study(tmp_path / "in" / "a")
    write_study(tmp_path / "in" / "b", patient=OTHER, study="1.2.3.2")  # on the very same grids
    out = tmp_path / "out"
    run("convert", tmp_path / "in", out)
    for number, case in enumerate(("P-0001-1", "P-0002-1")):
        image = nib.load(out / case / f"{case}_t1ce.nii.gz")
        values = np.random.default_rng(number).choice([0, 1, 2, 4], image.shape).astype(np.uint8)
        mask = nib.Nifti1Image(values, image.affine)
        (tmp_path / "masks" / case).mkdir(parents=True)
        nib.save(mask, tmp_path / "masks" / case / f"{case}_t1ce_mask.nii.gz")
    code, output = run("seg", tmp_path / "masks", tmp_path / "in", tmp_path / "segs")
    assert code == 1 and "the series are of several patients" in output
    words = ("seg", tmp_path / "masks", tmp_path / "in", tmp_path / "segs")
    code, output = run(*words, "--table", out / "series.csv")
    assert code == 0 and "2 of 2 masks in" in output
    owners = set()
    for path in (tmp_path / "segs").iterdir():
        segmentation = hd.seg.segread(path)
        owners.add(segmentation.PatientID)
        case = path.name.removesuffix("_t1ce_mask.dcm")
        record = json.loads((out / case / f"{case}.json").read_text())
        assert record["sequences"]["t1ce"]["number"] == "3"
        source = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
        number = next(
            row["series"] for row in rows(out) if row["case"] == case and row["number"] == "3"
        )
        assert number == f"s{hashlib.sha256(source.encode()).hexdigest()[:10]}"
    assert owners == {ID, OTHER[1]}


def test_a_mask_of_one_series_needs_no_table_and_no_known_sequence(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="extra dicom")
    write_study(tmp_path / "in", {"?": "brain"})
    affine = np.array([[-0.8, 0, 0, 30], [0, -0.9, 0, 40], [0, 0, 5, 15], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.ones(voxels().shape, np.uint8), affine), tmp_path / "mask.nii.gz")
    code, output = run("seg", tmp_path / "mask.nii.gz", tmp_path / "in", tmp_path / "out")
    assert code == 0 and (tmp_path / "out" / "mask.dcm").is_file(), output


@pytest.mark.parametrize("entries", [{}, {"files": {}}, {"files": {}, "untold": []}])
def test_a_damaged_record_beside_a_mask_is_a_sentence(tmp_path: Path, entries: dict) -> None:
    pytest.importorskip("highdicom", reason="extra dicom")
    write_study(tmp_path / "in", {"?": "brain"})
    affine = np.array([[-0.8, 0, 0, 30], [0, -0.9, 0, 40], [0, 0, 5, 15], [0, 0, 0, 1]])
    mask = tmp_path / "P1" / "P1_mask.nii.gz"
    mask.parent.mkdir()
    nib.save(nib.Nifti1Image(np.ones(voxels().shape, np.uint8), affine), mask)
    mask.with_name("P1.json").write_text(json.dumps({"format": 1, "case": "P1", **entries}))
    code, output = run("seg", mask, tmp_path / "in", tmp_path / "out")
    assert code == 1 and "P1.json is no record of cggm segment" in output
