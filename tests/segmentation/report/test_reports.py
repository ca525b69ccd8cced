"""Pages from the folder: what is written, what is wrong with a case, the still picture, methods."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from cggm.data.errors import InputError
from cggm.pipelines.commands import report as command_report
from cggm.pipelines.segmentation.report import write_reports
from cggm.pipelines.segmentation.report.methods_text import methods_text
from cggm.pipelines.segmentation.report.pages import case_html
from cggm.pipelines.segmentation.report.picture import OUTLINES, draw_picture
from cggm.pipelines.segmentation.report.records import record_of
from cggm.pipelines.segmentation.report.views import View, read_view

from .output_folder import busiest, finding, record, volumes, write_case

MAIN = "from cggm.pipelines.commands.app import main; main()"


def quiet(line: str) -> None:
    pass


def view(**changes: np.ndarray) -> View:
    image, mask = volumes()
    images = changes or {"flair": image, "t1ce": image}
    return View(images, mask, np.diag((4.0, 4.0, 4.0, 1.0)))


def pixels_of(png: bytes, color: str) -> np.ndarray:
    """Where a picture has a color, as rows and columns in shares of its size."""
    picture = imread(io.BytesIO(png))[..., :3]
    found = np.argwhere(np.abs(picture - to_rgb(color)).max(-1) < 0.08)
    return found / picture.shape[:2]


def test_one_bad_case_is_named_and_stops_no_other(tmp_path: Path) -> None:
    for name in ("A", "B", "C", "D", "E", "F", "G"):
        write_case(tmp_path, name)
    (tmp_path / "B" / "B.json").write_text("{")
    (tmp_path / "C" / "view" / "t1ce.nii.gz").unlink()
    (tmp_path / "D" / "view" / "mask.nii.gz").write_bytes(b"\x1f\x8bcut")
    (tmp_path / "E" / "E.json").unlink()
    small = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    nib.save(small, tmp_path / "F" / "view" / "flair.nii.gz")
    (tmp_path / "G" / "G.json").write_text(json.dumps({"format": 1, "case": "G"}))
    (tmp_path / "notes").mkdir()
    lines: list[str] = []
    outcome = write_reports(tmp_path, say=lines.append)
    assert outcome.written == ["A"]
    assert sorted(outcome.failed) == ["B", "C", "D", "E", "F", "G"]
    for name, reason in outcome.failed.items():
        assert f"{name}/" in reason.replace("\\", "/") and "segment the case again" in reason
        assert any(name in line and "FAILED" in line for line in lines)
    assert not list(tmp_path.glob("[B-G]/*.html"))
    overview = (tmp_path / "index.html").read_text()
    assert all(f"<td class='name'>{name}</td>" in overview for name in "BCDEFG")
    assert overview.count("href=") == 1
    assert not [path for path in tmp_path.rglob("*.tmp")]


def test_only_some_pages_and_all_in_the_overview(tmp_path: Path) -> None:
    for name in ("A", "B"):
        write_case(tmp_path, name)
    assert write_reports(tmp_path, ["B"], quiet).written == ["B"]
    assert not (tmp_path / "A" / "A.html").exists()
    overview = (tmp_path / "index.html").read_text()
    assert "B/B.html" in overview and "A/A.html" not in overview and ">A</td>" in overview


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        with pytest.raises(InputError, match="no segmented case in .*cggm segment"):
            write_reports(folder, say=quiet)


def test_failed_cases_alone_have_an_overview(tmp_path: Path) -> None:
    (tmp_path / "failed.csv").write_text("case,stage,reason\nP1,find,no t1ce\n")
    assert write_reports(tmp_path, say=quiet).failed == {}
    assert "no t1ce" in (tmp_path / "index.html").read_text()


def test_a_record_that_cannot_be_shown_takes_no_other_along(tmp_path: Path) -> None:
    write_case(tmp_path, "A", model={"settings": {"architecture": "segresnet"}}, prepared=True)
    write_case(tmp_path, "B", model={"settings": {"sequences": 4}})
    strange = tmp_path / "prepared" / "A" / "A.json"
    strange.parent.mkdir(parents=True)
    strange.write_text('{"brain": "HD-BET", "settings": {"spacing": 1.0}}')
    outcome = write_reports(tmp_path, say=quiet)
    assert outcome.written == ["A"] and "TypeError" in outcome.failed["B"]
    assert "Tumors in 1 case" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("entry", "value"),
    [("volumes_ml", {"WT": "big"}), ("findings", [finding("fatal")]), ("sequences", "flair")],
)
def test_records_that_mean_nothing(tmp_path: Path, entry: str, value: object) -> None:
    write_case(tmp_path, "A")
    told = record("A", ("flair", "t1ce")) | {entry: value}
    (tmp_path / "A" / "A.json").write_text(json.dumps(told))
    assert "is no record of cggm segment" in write_reports(tmp_path, say=quiet).failed["A"]


def test_a_lean_record_is_enough(tmp_path: Path) -> None:
    write_case(tmp_path, "A")
    kept = ("format", "case", "sequences", "volumes_ml")
    told = {key: record("A", ("flair", "t1ce"))[key] for key in kept}
    (tmp_path / "A" / "A.json").write_text(json.dumps(told))
    assert write_reports(tmp_path, say=quiet).failed == {}


def test_no_button_goes_to_a_region_that_cannot_be_told(tmp_path: Path) -> None:
    """Whatever the mask has of it is a guess."""
    disabled = {}
    for name, sequences in {"A": ("flair", "t1ce"), "B": ("flair",)}.items():
        write_case(tmp_path, name, sequences)
    write_reports(tmp_path, say=quiet)
    for name in "AB":
        page = (tmp_path / name / f"{name}.html").read_text()
        buttons = re.findall(r"<button type='button' data-region='(\w+)'.*? disabled>", page)
        disabled[name] = buttons
    assert disabled == {"A": [], "B": ["ET"]}
    assert "title='ET cannot be told without t1ce' disabled" in page


def test_the_still_picture_has_each_region_where_it_is_seen() -> None:
    png = draw_picture(view())
    above = pixels_of(png, OUTLINES["ED"])  # the whole tumor on flair
    below = pixels_of(png, OUTLINES["ET"])
    assert len(above) > 300 and len(below) > 100
    panels = above[above[:, 0] < 0.45]
    assert panels[panels[:, 1] < 0.32, 1].mean() > 0.17  # the patient's left is on the right
    assert (below[below[:, 0] < 0.9, 0] > 0.45).all()


def test_slices_are_those_with_most_of_the_prediction() -> None:
    image, mask = volumes()
    assert view().place_of("WT") == tuple(busiest(mask > 0))
    assert view().place_of("ET") == tuple(busiest(mask == 3))
    empty = View({"t2": image}, np.zeros_like(mask), np.eye(4))
    assert empty.place_of("WT") == tuple(int(np.median(axis)) for axis in np.nonzero(image))
    assert not len(pixels_of(draw_picture(empty), OUTLINES["ET"]))


def test_without_the_usual_sequence_another_shows_a_region() -> None:
    image, _ = volumes()
    shown = [view(t1=image, t2=image).sequence_for(region) for region in ("WT", "ET")]
    assert shown == ["t2", "t1"]


def test_large_images_are_thinned_to_twelve_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 256, (170, 200, 160), np.uint8)
    large = View({"flair": noise, "t1ce": noise}, np.zeros_like(noise), np.eye(4))
    page = case_html(record_of(record("A", ("flair", "t1ce"))), large)
    assert "measurement of this one. Confidence is" in page
    assert len(page) < 12 * 2**20
    assert "Every 2. voxel" in page


def test_images_in_other_axes_are_turned(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "A")
    straight = read_view(folder, ["flair"])
    for path in (folder / "view").iterdir():
        turned = nib.load(path).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
        nib.save(turned, path.with_name("turned.nii.gz"))
        path.with_name("turned.nii.gz").replace(path)
    again = read_view(folder, ["flair"])
    assert np.array_equal(again.mask, straight.mask)
    assert np.allclose(again.affine, straight.affine)


def test_the_methods_paragraph_says_what_was_done() -> None:
    model = record("A", ("flair",))["model"]
    model["settings"]["method"] = "cggm"
    records = [
        record_of(record("A", ("flair", "t1ce"), prepared=True, model=model)),
        record_of(record("B", ("flair", "t2"), prepared=True, subject="A", model=model)),
        record_of(record("C", ("flair", "t2"), model=model)),
    ]
    prepared = {
        "brain": {"by": "HD-BET"},
        "settings": {"spacing": 1.0},
        "versions": {"SimpleITK": "2.5.7"},
    }
    text = methods_text(records, {"A": prepared, "B": {**prepared, "brain": {"by": "mask.nii.gz"}}})
    said = " ".join(text.sentences)
    for words in (
        "Tumors in 3 cases of 2 subjects",
        "cggm 0.1.0 (MONAI 1.6.1 [1], PyTorch 2.14.1",
        "SegResNet's residual blocks for each sequence [2]",
        "by the method “cggm” [3]",
        "Images of 2 cases were registered rigidly",
        "SimpleITK 2.5.7 [4]",
        "HD-BET [5] or a given mask",
        "FLAIR and T2 in 2 cases; FLAIR and contrast-enhanced T1 in 1 case",
        "ET was not told in 2 cases (B, C)",
    ):
        assert words in said
    assert "Isensee" in text.references[4] and "Lowekamp" in text.references[3]
    assert methods_text([]).sentences == []


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (0.5, "with sequences left out at random, so that it reads any subset"),
        ({"flair": 0.0, "t1ce": 0.5}, "with contrast-enhanced T1 left out at random"),
        (0.0, None),
        ({"flair": 0.0, "t1ce": 0.0}, None),
    ],
)
def test_the_methods_paragraph_says_what_was_left_out_in_training(
    rates: float | dict[str, float], said: str | None
) -> None:
    settings = {"architecture": "segresnet", "sequences": ["flair", "t1ce"]}
    model = {"sha256": ["cd" * 32], "settings": {**settings, "modality_dropout": rates}}
    sentences = " ".join(methods_text([record_of(record("A", ("flair",), model=model))]).sentences)
    assert said in sentences if said else "at random" not in sentences


def test_the_command(tmp_path: Path) -> None:
    write_case(tmp_path, "A", model=None)
    write_case(tmp_path, "B", model=None)
    (tmp_path / "B" / "B.json").write_text("[]")
    command = [sys.executable, "-P", "-c", MAIN, "report", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1 and not ran.stderr
    assert "2/2 B: FAILED" in ran.stdout and "1 page written; open" in ran.stdout
    with pytest.raises(InputError, match=r"no case in .* is called 'Anna' \(did you mean 'Ann'"):
        write_case(tmp_path, "Ann", model=None)
        command_report.main(tmp_path, ["Anna"])
