"""`cggm follow` over a phantom whose tumor grows."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.conventions import label_convention_named
from cggm.data.errors import InputError
from cggm.data.phantom.cases import make_case
from cggm.data.phantom.grid import output_grid
from cggm.data.phantom.head import rigid_motion
from cggm.pipelines.commands.follow import course
from cggm.pipelines.segmentation.follow.picture import draw_course
from cggm.pipelines.segmentation.follow.table import Measured, measure, rows_of
from cggm.pipelines.segmentation.follow.visits import dated, patients_in, read_visits

from .folders import write_visit

SPACING = 3.0
SIZES = {"2024-01-10": 0.5, "2024-04-02": 1.0, "2024-07-01": 2.0}


@pytest.fixture(scope="module")
def dates() -> dict[str, tuple[dict[str, np.ndarray], dict[str, float]]]:
    """Arrays of a patient at three dates, the tumor twice as large each time; its ml by label."""
    made = {}
    for date, size in SIZES.items():
        arrays, record = make_case(0, 0, SPACING, aligned=True, size=size)
        arrays["seg"] = label_convention_named("brats2021").to_classes(arrays["seg"], date)
        made[date] = arrays, record["volumes_ml"]
    return made


def write(
    output: Path, dates, date: str, *sequences: str, moved=None, lesion: bool = False, **more
) -> None:
    arrays, _ = dates[date]
    classes = arrays["seg"].copy()
    if lesion:
        classes[38:42, 50:54, 30:33] = 3
        assert (arrays["t1"][38:42, 50:54, 30:33] > 0).all()
    write_visit(
        output,
        f"P01_{date}",
        classes=classes,
        images={name: arrays[name] for name in sequences or ("flair", "t1ce")},
        affine=(np.eye(4) if moved is None else moved) @ output_grid(SPACING).affine(),
        date=date,
        **more,
    )


def followed(output: Path) -> list[Measured]:
    visits, failures = read_visits(output)
    assert not failures
    (patient,) = patients_in(visits)
    return measure(patient, 0.1)


def test_changes_are_those_of_the_phantom(dates, tmp_path: Path) -> None:
    for date in reversed(SIZES):
        write(tmp_path, dates, date)
    rows = [one.row() for one in followed(tmp_path)]
    assert [row["date"] for row in rows] == list(SIZES)
    truth = [ml["NCR"] + ml["ED"] + ml["ET"] for _, ml in dates.values()]
    assert [row["WT_ml"] for row in rows] == pytest.approx(truth)
    assert [row["ET_ml"] for row in rows] == pytest.approx([ml["ET"] for _, ml in dates.values()])
    last = rows[2]
    assert last["WT_ml_since_first"] == pytest.approx(truth[2] - truth[0])
    assert last["WT_ml_since_preceding"] == pytest.approx(truth[2] - truth[1])
    assert last["WT_ml_since_first_percent"] == pytest.approx(100 * (truth[2] / truth[0] - 1))
    assert 250 < last["WT_ml_since_first_percent"] < 350  # four times as large
    assert rows[0]["WT_ml_since_first"] == ""
    assert rows[0]["ET_mm2"] < rows[1]["ET_mm2"] < rows[2]["ET_mm2"]
    assert last["ET_mm2"] == pytest.approx(
        last["ET_longest_mm"] * last["ET_perpendicular_mm"], abs=0.1
    )
    assert [row["new_lesion"] for row in rows] == ["", "no", "no"]
    assert [row["remark"] for row in rows] == ["", "", ""]


def test_what_cannot_be_told_is_empty_with_the_reason(dates, tmp_path: Path) -> None:
    first, second, third = SIZES
    write(tmp_path, dates, first, "flair")
    write(tmp_path, dates, second)
    write(tmp_path, dates, third, model={"sha256": ["cd"]})
    rows = [one.row() for one in followed(tmp_path)]
    assert rows[0]["ET_ml"] == rows[0]["ET_mm2"] == rows[1]["ET_ml_since_first"] == ""
    assert rows[0]["remark"] == "ET cannot be told without t1ce"
    assert f"no change of ET since {first}: ET cannot be told without t1ce" in rows[1]["remark"]
    assert f"other sequences than at {first} (flair)" in rows[1]["remark"]
    assert rows[2]["ET_ml_since_first"] == "" and rows[2]["ET_ml_since_preceding"] > 0
    assert rows[2]["WT_ml_since_first"] > 0
    assert f"other weights than at {second}" in rows[2]["remark"]


def test_a_cavity_is_followed_where_it_is_told(dates, tmp_path: Path) -> None:
    first, second, third = SIZES
    write(tmp_path, dates, first)
    for date, side in ((second, 4), (third, 6)):
        arrays, ml = dates[date]
        operated = arrays["seg"].copy()
        operated[30 : 30 + side, 40 : 40 + side, 30 : 30 + side] = 4
        changed = {date: ({**arrays, "seg": operated}, ml)}
        write(tmp_path, changed, date, label_convention="brats2024")
    measured = followed(tmp_path)
    rows = rows_of(measured)
    told = [row["RC_ml"] for row in rows]
    assert told == ["", pytest.approx(0.027 * 4**3), pytest.approx(0.027 * 6**3)]
    assert rows[2]["RC_ml_since_preceding"] == pytest.approx(0.027 * (6**3 - 4**3))
    assert f"no change of RC since {first}: RC is not known there" in rows[1]["remark"]
    assert rows[2]["new_lesion"] == "no", "a cavity is no lesion"
    assert "RC_ml" not in rows_of(measured[:1])[0], "no columns where no network tells it"
    assert len(re.findall(r"RC [0-9.]+ ml", course(measured))) == 2
    draw_course(tmp_path / "course.png", measured)


@pytest.mark.parametrize("lesion", [False, True])
def test_a_moved_head_is_registered(dates, tmp_path: Path, lesion: bool) -> None:
    pytest.importorskip("SimpleITK", reason="the extra prepare is not installed")
    first, second, _ = SIZES
    write(tmp_path, dates, first)
    moved = rigid_motion((6, -5, 8), (25, -14, 18))
    write(tmp_path, dates, second, moved=moved, lesion=lesion)
    one = followed(tmp_path)[1]
    assert one.compared.startswith("registered")
    assert [lesion.ml for lesion in one.new or []] == pytest.approx([1.296] * lesion)


def test_another_head_is_not_compared(dates, tmp_path: Path) -> None:
    first, second, _ = SIZES
    write(tmp_path, dates, first)
    far = np.eye(4)
    far[0, 3] = 400
    arrays, _ = dates[second]
    half = {
        name: np.where(np.arange(len(a))[:, None, None] < 32, a, 0) for name, a in arrays.items()
    }
    write(tmp_path, {second: (half, {})}, second, moved=far)
    one = followed(tmp_path)[1]
    assert one.new is None
    assert (
        "new lesions cannot be told from 2024-01-10: only 0 % of the brains" in one.row()["remark"]
    )


def test_dates_come_from_a_table_or_there_are_no_changes(dates, tmp_path: Path) -> None:
    first, second, _ = SIZES
    output = tmp_path / "out"
    for date in (first, second):
        write(output, dates, date)
    visits, _ = read_visits(output)
    table = tmp_path / "dates.csv"
    table.write_text(f"case,date\nP01_{first},\n")
    (patient,) = patients_in(dated(visits, table))
    rows = [one.row() for one in measure(patient, 0.1)]
    assert all("--dates" in row["remark"] and row["WT_ml_since_first"] == "" for row in rows)
    table.write_text(f"case,date\nP01_{first},follow-up 10\nP01_{second},follow-up 9\n")
    (patient,) = patients_in(dated(visits, table))
    assert [visit.date for visit in patient.visits] == ["follow-up 9", "follow-up 10"]
    table.write_text("case,date\nP02,2024-01-01\n")
    with pytest.raises(InputError, match="no case is called 'P02'"):
        dated(visits, table)


def test_command_writes_table_and_pictures_and_names_what_it_cannot_read(
    dates, tmp_path: Path
) -> None:
    for date in SIZES:
        write(tmp_path, dates, date, lesion=date == "2024-07-01")
    other = tmp_path / "P02"
    shutil.copytree(tmp_path / "P01_2024-01-10", other)
    record = json.loads((other / "P01_2024-01-10.json").read_text())
    (other / "P01_2024-01-10.json").rename(other / "P02.json")
    (other / "P02.json").write_text(json.dumps(record | {"case": "P02", "subject": "P02"}))
    broken = tmp_path / "P03" / "P03.json"
    broken.parent.mkdir()
    broken.write_text('{"format": 1}')
    run = subprocess.run(
        [sys.executable, "-P", "-m", "cggm", "follow", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "P03.json is no record of cggm segment" in run.stderr
    assert "Traceback" not in run.stderr
    assert "2 patients, 1 with several dates" in run.stdout and "new lesion" in run.stdout
    with open(tmp_path / "follow.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["new_lesion"] for row in rows if row["patient"] == "P01"][-1] == "yes"
    assert (tmp_path / "follow" / "P01.png").read_bytes().startswith(b"\x89PNG")
