"""Runs over many cases: faults stop no other, nothing is done twice, records tell all."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import time
from html import unescape
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.files import digest_of
from cggm.data.identity import digest
from cggm.pipelines.segmentation.batch.case import Settings, Tool
from cggm.pipelines.segmentation.batch.cases import find_cases_to_segment, refuse_within
from cggm.pipelines.segmentation.batch.record import CaseRecord, read_record
from cggm.pipelines.segmentation.batch.run import Outcome, claim_output, segment_cases
from cggm.pipelines.segmentation.follow.visits import read_visits
from cggm.pipelines.segmentation.one_by_one import case_lock
from cggm.pipelines.segmentation.report import write_reports
from cggm.pipelines.segmentation.scoring.pairs import pair_masks
from cggm.pipelines.segmentation.trained import weights_in

from ...children import in_a_child
from ...data.brains import AFFINE, SHAPE, write_case
from .models import write_model


def table(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def run(source: Path, output: Path, tool: Tool, said: list[str] | None = None) -> Outcome:
    found = find_cases_to_segment(source)
    output.mkdir(exist_ok=True)
    claim_output(output, source, found.cases)
    return segment_cases(found, output, tool, say=[].append if said is None else said.append)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_of(path) for path in folder.rglob("*.*z")}


def test_one_broken_file_stops_no_other(brats: Path, tool: Tool, tmp_path: Path) -> None:
    output, broken = tmp_path / "out", brats / "P1" / "P1_t1ce.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    (brats / "P9").mkdir()
    outcome = run(brats, output, tool)
    assert list(outcome.done) == ["P0"]
    failed = table(output / "failed.csv")
    assert {name: row["stage"] for name, row in failed.items()} == {"P1": "read", "P9": "find"}
    assert "P1_t1ce.nii.gz is a damaged or truncated gzip file" in failed["P1"]["reason"]
    assert "holds no NIfTI file" in failed["P9"]["reason"]
    assert list(table(output / "volumes.csv")) == ["P0"] and not (output / "P1").exists()

    # Mended: what was finished stays as it is, the rest is done.
    broken.write_bytes(whole)
    (brats / "P9").rmdir()
    before = (output / "P0" / "P0.json").stat().st_mtime_ns
    outcome = run(brats, output, tool)
    assert list(outcome.done) == ["P1"] and outcome.earlier == ["P0"]
    assert list(table(output / "volumes.csv")) == ["P0", "P1"]
    assert (output / "P0" / "P0.json").stat().st_mtime_ns == before
    assert not (output / "failed.csv").exists()


def test_masks_lie_on_their_inputs_and_records_tell_all(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    said: list[str] = []
    run(brats, output, tool, said)
    record = read_record(output / "P0")
    assert set(record) == set(CaseRecord.__annotations__)
    mask = nib.load(output / "P0" / record["mask"])
    assert mask.shape == SHAPE and np.array_equal(mask.affine, AFFINE)
    codes = np.asarray(mask.dataobj)
    assert set(np.unique(codes)) <= {0, 1, 2, 4} and codes.any()
    whole = (codes > 0).sum() / 1000
    assert record["volumes_ml"]["WT"] == pytest.approx(whole, abs=1e-3)
    assert float(table(output / "volumes.csv")["P0"]["WT_ml"]) == record["volumes_ml"]["WT"]
    assert record["inputs"]["flair"]["sha256"] == digest_of(brats / "P0" / "P0_flair.nii.gz")
    assert record["model"]["sha256"] and record["model"]["settings"]["method"] == "joint"
    assert not record["prepared"] and record["native_masks"] == {}
    assert {"read", "network", "write"} <= record["seconds"].keys()
    assert all((output / "P0" / name).is_file() for name in record["files"])
    assert (output / "P0" / "P0.png").is_file()
    for file in (output / "P0" / "P0.json", output / "volumes.csv"):
        assert "ller" not in file.read_text(encoding="utf-8")
    assert said[0].startswith("flair+t1ce: Dice unknown")
    assert any(line.startswith("1/2 (less than a minute left) P0: WT ") for line in said)


def test_a_subset_tells_what_it_is_worth(brats: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "evaluated")
    weights = weights_in(model)
    figures = {"WT": 91.0, "TC": 60.0, "ET": 5.0}
    row = {f"{region}_dice": dice for region, dice in figures.items()}
    row |= {f"{region}_{end}": None for region in figures for end in ("low", "high")}
    rows = [{"sequences": "flair+t2", "cases": 7, **row}]
    told = {"weights": digest_of(weights), "data": "phantoms", "subsets": rows}
    weights.with_name("subsets.json").write_text(json.dumps(told))
    for name in ("t1", "t1ce"):
        (brats / "P0" / f"P0_{name}.nii.gz").unlink()
    run(brats, tmp_path / "out", Tool(weights, Settings(), "cpu"))
    record = read_record(tmp_path / "out" / "P0")
    assert record["sequences"] == ["flair", "t2"]
    assert record["volumes_ml"]["ET"] is None and record["volumes_ml"]["WT"] is not None
    assert record["untold"] == {"ET": "ET not reliable without t1ce"}
    assert record["expected_dice"] == {"WT": 91.0, "TC": 60.0, "ET": None}
    assert "WT Dice 91.0" in record["expected"] and "7 cases of phantoms" in record["expected"]
    row = table(tmp_path / "out" / "volumes.csv")["P0"]
    assert row["ET_ml"] == "" and row["remark"] == "ET not reliable without t1ce" + (
        f"; {'; '.join(record['remarks'])}" if record["remarks"] else ""
    )
    assert read_record(tmp_path / "out" / "P1")["expected_dice"] is None


def test_masks_of_another_data_set_are_never_replaced(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output, other = tmp_path / "out", tmp_path / "other"
    shutil.rmtree(brats / "P1")
    run(brats, output, tool)
    before = contents(output)
    write_case(other, "P0", 7)
    with pytest.raises(InputError, match=r"masks of other images with the same names \(P0\)"):
        run(other, output, tool)
    shutil.copytree(brats, tmp_path / "copied")  # the same data set elsewhere goes on
    assert run(tmp_path / "copied", output, tool).earlier == ["P0"]
    with pytest.raises(InputError, match="holds P0 and is no output folder of cggm segment"):
        run(brats, other, tool)
    with pytest.raises(InputError, match="lies in"):
        refuse_within(brats / "out", brats)
    (output / "P0" / "P0.json").write_text("{}")  # no record of ours any more
    assert "is no segmented case" in run(brats, output, tool).failed["P0"][1]
    assert contents(output) == before


def test_what_lies_unrecognized_beside_a_case_is_in_its_row(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output, odd = tmp_path / "out", brats / "P0" / "t1_km.nii.gz"
    shutil.rmtree(brats / "P1")
    (brats / "P0" / "P0_t1ce.nii.gz").rename(odd)
    (brats / "P0" / "P0_t1ce.nii.gz").write_bytes(odd.read_bytes())
    (brats / "P0" / "P0_t1.nii.gz").unlink()
    run(brats, output, tool)
    assert "not_used" in table(output / "volumes.csv")["P0"]["findings"]
    assert "t1_km.nii.gz (t1ce?)" in (output / "P0" / "P0.html").read_text()
    odd.unlink()
    assert run(brats, output, tool).earlier == ["P0"]
    assert "not_used" not in table(output / "volumes.csv")["P0"]["findings"]
    assert "t1_km" not in (output / "P0" / "P0.html").read_text()


def test_a_patient_of_the_training_is_noted(brats: Path, tmp_path: Path) -> None:
    output, trained = tmp_path / "out", [digest(name) for name in ("P0", "P2", "P3")]
    write_case(brats, "P2_2024-03-01", 2)
    folder = write_model(tmp_path / "it", ("flair", "t1ce"), more={"trained_on": trained})
    tool = Tool(weights_in(folder), Settings(), "cpu")
    del tool.segmenter.trained["trained_on"]  # as versions before left cases
    run(brats, output, tool)
    assert "trained_on" not in (output / "volumes.csv").read_text()
    again = run(brats, output, Tool(weights_in(folder), Settings(), "cpu"))
    assert again.earlier == ["P0", "P1", "P2_2024-03-01"]
    found = {case: row["findings"].split() for case, row in table(output / "volumes.csv").items()}
    assert [case for case, codes in found.items() if "trained_on" in codes] == [
        "P0",
        "P2_2024-03-01",
    ]
    page = (output / "P0" / "P0.html").read_text()
    assert "the network was trained on a patient of this name (P0)" in page


def test_another_model_or_setting_makes_masks_again(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.rmtree(brats / "P1")
    run(brats, output, tool)
    weights = weights_in(write_model(tmp_path / "other", seed=1))
    again = run(brats, output, Tool(weights, Settings(label_convention="brats2023"), "cpu"))
    assert list(again.done) == ["P0"]
    record = read_record(output / "P0")
    assert len(record["sequences"]) == 4 and record["label_convention"] == "brats2023"
    codes = np.asarray(nib.load(output / "P0" / "P0_mask.nii.gz").dataobj)
    assert codes.max() <= 3


def test_a_mask_that_somebody_corrected_is_kept(brats: Path, tool: Tool, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.rmtree(brats / "P1")
    run(brats, output, tool)
    mask = output / "P0" / "P0_mask.nii.gz"
    image = nib.load(mask)
    codes = np.asarray(image.dataobj)
    codes[::2] = 4
    nib.save(nib.Nifti1Image(codes, image.affine), mask)
    corrected, said = mask.read_bytes(), list[str]()
    told = "corrected: P0_mask.nii.gz; the figures are of the network's own mask"
    assert run(brats, output, tool, said).earlier == ["P0"]
    assert "changed since: P0_mask.nii.gz" in said[-1]
    write_reports(output, cases=(), say=[].append)
    for page in (output / "index.html", output / "P0" / "P0.html"):
        assert told in unescape(page.read_text())
    assert table(output / "volumes.csv")["P0"]["remark"].startswith(told)
    other = Tool(weights_in(write_model(tmp_path / "other", seed=1)), Settings(), "cpu")
    reason = run(brats, output, other).failed["P0"][1]
    assert "P0_mask.nii.gz in" in reason and "was changed after" in reason
    assert mask.read_bytes() == corrected


@pytest.mark.parametrize(
    "change",
    [
        {"volumes_ml": None},
        {"confidence": None},
        {"findings": ["x"]},
        {"sequences": None},
        {"case": "../P0"},
        {"files": []},
        {"inputs": []},
    ],
)
def test_a_strange_record_is_none(
    brats: Path, tool: Tool, tmp_path: Path, change: dict[str, object]
) -> None:
    output = tmp_path / "out"
    shutil.rmtree(brats / "P1")
    run(brats, output, tool)
    path = output / "P0" / "P0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert list(run(brats, output, tool).done) == ["P0"]
    assert read_record(output / "P0")["case"] == "P0"


def test_what_a_spreadsheet_saved_stops_nothing(brats: Path, tool: Tool, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(brats, output, tool)
    (output / "failed.csv").write_bytes(b"case,stage,reason\nP9,find,Gr\xf6\xdfe\n")
    assert run(brats, output, tool).earlier == ["P0", "P1"]


def test_a_case_that_fails_now_has_no_row_of_before(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run(brats, output, tool)
    (brats / "P1" / "P1_t1ce.nii.gz").write_bytes(b"no image")
    assert list(run(brats, output, tool).failed) == ["P1"]
    assert list(table(output / "volumes.csv")) == ["P0"]
    write_reports(output, cases=(), say=[].append)
    assert "P1/P1.html" not in (output / "index.html").read_text()


def test_a_case_in_hand_of_another_process_is_left_to_it(
    brats: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with case_lock(output, "P1"):
        outcome = run(brats, output, tool)
    assert outcome.elsewhere == ["P1"] and list(outcome.done) == ["P0"]
    assert not outcome.failed and not (output / "failed.csv").exists()


def test_masks_are_scored_and_followed_as_they_are_now(
    brats: Path, model: Path, tool: Tool, tmp_path: Path
) -> None:
    """Copies for the pages are no masks of their own, and a corrected mask has its own volumes."""
    output, truth = tmp_path / "out", tmp_path / "truth"
    run(brats, output, tool)
    for name in ("P0", "P1"):
        truth.mkdir(exist_ok=True)
        shutil.copy(brats / name / f"{name}_seg.nii.gz", truth)
    pairing = pair_masks(output, truth)
    assert [pair.case for pair in pairing.pairs] == ["P0", "P1"] and not pairing.unpaired
    assert pairing.pairs[0].prediction == output / "P0" / "P0_mask.nii.gz"

    path = output / "P0" / "P0_mask.nii.gz"
    mask = nib.load(path)
    codes = np.asarray(mask.dataobj)
    nib.save(nib.Nifti1Image(np.where(codes == 4, 1, codes), mask.affine, mask.header), path)
    visits, _ = read_visits(output)
    before = read_record(output / "P0")["volumes_ml"]
    assert visits[0].corrected and not visits[1].corrected
    assert visits[0].volumes["ET"] == 0 < before["ET"]
    assert visits[0].volumes["WT"] == pytest.approx(before["WT"], abs=1e-3)
    with pytest.raises(InputError, match="the device 'gpu' cannot .*; expected cpu, or cuda"):
        Tool(weights_in(model), Settings(), "gpu")


@pytest.mark.parametrize(("cases", "kills"), [(4, 3), pytest.param(40, 5, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_run_ends_complete(
    cases: int, kills: int, brats: Path, tool: Tool, tmp_path: Path
) -> None:
    """No case is done twice, and none that was finished is touched again."""
    output, draws = tmp_path / "out", random.Random(0)
    for number in range(2, cases):
        write_case(brats, f"P{number}", number)
    finished: dict[str, int] = {}
    for _ in range(kills):
        child = in_a_child(lambda: run(brats, output, tool))
        time.sleep(draws.uniform(0.1, 2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for path in output.glob("P*/P*.json"):
            now = path.stat().st_mtime_ns
            assert finished.setdefault(path.stem, now) == now
    begun = {path.stem for path in output.glob(".locks/*.begun")}
    outcome = run(brats, output, tool)
    names = sorted(f"P{number}" for number in range(cases))
    assert sorted([*outcome.done, *outcome.earlier]) == names and not outcome.failed
    assert set(outcome.earlier) == finished.keys()
    assert begun - finished.keys() <= set(list(outcome.done)[len(outcome.done) - len(begun) :])
    assert sorted(table(output / "volumes.csv")) == names
    assert not list(output.glob(".*.tmp")) and not list(output.glob(".locks/*.begun"))


def test_two_processes_share_a_folder(brats: Path, tool: Tool, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for number in (2, 3):
        write_case(brats, f"P{number}", number)

    def work() -> None:
        outcome = run(brats, output, tool)
        (tmp_path / f"{os.getpid()}.txt").write_text(" ".join(outcome.done))
        assert not outcome.failed

    children = [in_a_child(work) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    done = [(tmp_path / f"{child}.txt").read_text().split() for child in children]
    names = [f"P{number}" for number in range(4)]
    assert sorted(done[0] + done[1]) == names and all(done)
    assert list(table(output / "volumes.csv")) == names
