"""`cggm score` as a user types it: two layouts, single files, and what is wrong with files."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.pipelines.commands.score import read_regions

from ..processes import commands

SHAPE = (20, 22, 16)
LAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SCORE = ("cggm", "score")


def tumor(shift: int = 0, enhancing: int = 4) -> np.ndarray:
    """ET within edema in labels of BraTS 2021; ET has 4 x 4 x 4 voxels."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[4 + shift : 14 + shift, 5:15, 4:12] = 2
    mask[7 + shift : 11 + shift, 8:12, 6:10] = enhancing
    return mask


def save(path: Path, mask: np.ndarray, affine: np.ndarray = LAS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask, affine), path)


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(folder / "scores.csv", newline="") as file:
        return {(row["case"], row["region"]): row for row in csv.DictReader(file)}


def read_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scores.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """A folder after several commands, and what each of them said."""
    root = tmp_path_factory.mktemp("scores")
    for number in range(6):
        name = f"BraTS2021_0000{number}"
        save(root / "truth" / name / f"{name}_seg.nii.gz", tumor())
        save(root / "truth" / name / f"{name}_flair.nii.gz", tumor())
        save(root / "masks" / f"{name}.nii.gz", tumor(number % 2))
    (root / "masks" / "volumes.csv").write_text("case\n")
    save(root / "other" / "P1" / "mask.nii.gz", tumor(1))
    save(root / "other" / "P2" / "mask.nii.gz", tumor(0, 2))  # ET is missed
    save(root / "want" / "P1-seg.nii", tumor())
    save(root / "want" / "P2-seg.nii", tumor())
    save(root / "empty" / "P1.nii.gz", tumor() * 0)
    _write_faulty(root)
    return root, commands(
        [
            [*SCORE, "masks", "truth", "--label_convention", "brats2021", "--output_dir", "all"],
            [*SCORE, "other", "want", "--empty_regions", "monai", "--output_dir", "labels"],
            [*SCORE, "other", "want", "--output_dir", "own", "--regions", "{whole: [2,4], e: 4}"],
            [*SCORE, "bad", "good", "--label_convention", "brats2021", "--output_dir", "faults"],
            [*SCORE, "other/P1/mask.nii.gz", "want/P1-seg.nii", "--output_dir", "one"],
            [*SCORE, "other", "nowhere"],
            [*SCORE, "other", "masks", "--output_dir", "none"],
            [*SCORE, "other", "want", "--output_dir", "want"],
            [*SCORE, "other", "want", "--regions", "WT"],
            [*SCORE, "other", "want", "--regions", "{e: 4}", "--label_convention", "brats2021"],
            [*SCORE, "other", "want", "--label_convention", "brats"],
            [*SCORE, "other", "want", "--tolerance", "-1"],
            [*SCORE, "masks", "truth", "--label_convention", "brats2023", "--output_dir", "none"],
            [*SCORE, "empty", "empty", "--output_dir", "none"],
        ],
        root,
        ["cggm.pipelines.commands.score"],
    )


def _write_faulty(root: Path) -> None:
    """Cases that are wrong in one way each, beside one that is right."""
    for name in (
        "fine",
        "turned",
        "moved",
        "larger",
        "values",
        "between",
        "broken",
        "alone",
        "two",
    ):
        save(root / "good" / f"{name}_seg.nii.gz", tumor())
    bad = root / "bad"
    save(bad / "fine.nii.gz", tumor())
    save(bad / "turned.nii.gz", tumor()[::-1], np.diag([1, -1, 1, 1]) @ _shifted(-19))
    save(bad / "moved.nii.gz", tumor(), LAS @ _shifted(1))
    save(bad / "larger.nii.gz", np.pad(tumor(), 1))
    save(bad / "values.nii.gz", tumor(enhancing=3))
    save(bad / "between.nii.gz", tumor().astype(np.float32) * 0.75)
    save(bad / "broken.nii.gz", tumor())
    content = gzip.decompress((bad / "broken.nii.gz").read_bytes())
    (bad / "broken.nii.gz").write_bytes(gzip.compress(content)[:-20])
    save(bad / "two.nii.gz", tumor())
    save(bad / "again" / "two_seg.nii.gz", tumor())
    save(bad / "stray.nii.gz", tumor())


def _shifted(voxels: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = voxels
    return matrix


def test_a_folder_of_cases_is_scored(runs: tuple[Path, list[tuple[int, str, str]]]) -> None:
    root, results = runs
    code, out, errors = results[0]
    assert (code, errors) == (0, "")
    assert "6 of 6 cases scored, in all" in out
    assert "note: truth: 6 images of sequences left aside" in out
    assert "note: prediction: 1 file other than NIfTI left aside (volumes.csv)" in out
    table = rows(root / "all")
    assert len(table) == 18
    even, odd = table["BraTS2021_00000", "ET"], table["BraTS2021_00001", "ET"]
    assert (float(even["dice"]), float(even["hd95_mm"]), even["empty"]) == (100, 0, "")
    assert float(odd["dice"]) == 75 and float(odd["hd95_mm"]) == 1
    assert float(odd["true_ml"]) == 0.064 and float(odd["volume_error_ml"]) == 0
    assert {row["empty_regions"] for row in table.values()} == {"brats2023"}

    content = read_json(root / "all")
    figure = content["regions"]["ET"]["figures"]["dice"]
    assert (figure["mean"], figure["median"], figure["unit"]) == (87.5, 87.5, "%")
    assert figure["interval_95"][0] < 87.5 < figure["interval_95"][1]
    assert (content["cases"], content["not_scored"]) == (6, {})
    assert content["empty_regions"]["empty_in_truth"] == {"dice": 0, "hd95_mm": 374}
    page = (root / "all" / "scores.md").read_text()
    assert "| ET | Dice (%) | 87.50 |" in page and "brats2023" in page


def test_every_figure_has_its_rule_beside_it(
    runs: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    root, results = runs
    lines = [line for line in results[1][1].splitlines() if "Dice (%)" in line or "HD95" in line]
    assert len(lines) == 2 * 5  # labels 2 and 4
    assert all(("monai" in line) != ("lesion" in line) for line in lines)
    for region in read_json(root / "labels")["regions"].values():
        assert all(figure["rule"] for figure in region["figures"].values())
    for line in (root / "labels" / "scores.md").read_text().splitlines():
        if line.startswith("| 4 | HD95"):
            assert line == "| 4 | HD95 (mm) | 1.00 |  | 1.00 | 1 | 1 | monai |"


def test_labels_are_regions_and_regions_are_the_users(
    runs: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    root, results = runs
    assert [code for code, _, _ in results[1:3]] == [0, 0]
    assert "--label_convention gives WT, TC and ET instead" in results[1][1]
    table = rows(root / "labels")
    assert sorted(table) == [("P1", "2"), ("P1", "4"), ("P2", "2"), ("P2", "4")]
    assert table["P2", "4"]["empty"] == "prediction"
    assert (table["P2", "4"]["dice"], table["P2", "4"]["hd95_mm"]) == ("0", "")
    table = rows(root / "own")
    assert float(table["P2", "whole"]["dice"]) == 100
    assert (table["P2", "e"]["hd95_mm"], table["P2", "e"]["lesions_missed"]) == ("374.0", "1")


def test_what_cannot_be_scored_is_named_and_the_rest_is(
    runs: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    root, results = runs
    code, out, errors = results[3]
    assert code == 1
    assert "2 of 10 cases scored, in faults" in out
    assert {case for case, _ in rows(root / "faults")} == {"fine", "turned"}
    assert all(row["dice"] == "100.0" for row in rows(root / "faults").values())
    assert "note: case turned: the prediction's axes are RPS, the truth's LPS; both" in out
    said = {line.split(":")[1].removeprefix(" case "): line for line in errors.splitlines()}
    assert len(said) == 8
    for case, words in {
        "alone": "no prediction in bad for good/alone_seg.nii.gz; add it, or leave the case out",
        "stray": "no truth in good for bad/stray.nii.gz; add it, or",
        "two": "2 masks for the prediction (bad/two.nii.gz, bad/again/two_seg.nii.gz); expected",
        "moved": "bad/moved.nii.gz lies 1 mm away from the truth good/moved_seg.nii.gz at a corner",
        "larger": "bad/larger.nii.gz has 22 x 24 x 18 voxels, but the truth good/larger_seg",
        "values": "holds label 3 in 64 voxels; the label convention brats2021 (0 background",
        "between": "bad/between.nii.gz holds 736 label voxels between whole numbers such as 1.5",
        "broken": "bad/broken.nii.gz is a damaged or truncated gzip file",
    }.items():
        assert words in said[case], case
    assert set(read_json(root / "faults")["not_scored"]) == set(said)
    assert "## 8 cases without scores" in (root / "faults" / "scores.md").read_text()


def test_two_files_are_a_pair(runs: tuple[Path, list[tuple[int, str, str]]]) -> None:
    root, results = runs
    assert results[4][0] == 0
    assert set(rows(root / "one")) == {("P1", "2"), ("P1", "4")}


def test_mistakes_are_one_sentence(runs: tuple[Path, list[tuple[int, str, str]]]) -> None:
    root, results = runs
    for (code, _, errors), words in zip(
        results[5:],
        (
            "there is no file or folder nowhere; is the path right?",
            "no case is both in other and in masks (prediction: P1, P2; truth: BraTS2021_00000,",
            "want holds other files than scores, such as P1-seg.nii; choose another output",
            "--regions is 'WT'; expected the labels of each region, such as '{WT: [1, 2, 4]",
            "label_convention and regions are both given; expected one",
            "no label convention is called 'brats'; known are: brats2021",
            "the tolerance of surface Dice is -1; it is a length in mm, 0 or more",
            "6 problems in masks and truth:",
            "none of the 1 case has a label in either mask, so there is no region to score: name",
        ),
        strict=True,
    ):
        assert code == 1
        assert errors.startswith(f"error: {words}"), errors
        assert "Traceback" not in errors
    assert not (root / "none").exists()
    assert (root / "want" / "P1-seg.nii").exists()


def test_regions_of_a_text() -> None:
    assert read_regions("{WT: [1,2,4], 'ET': 4}") == {"WT": [1, 2, 4], "ET": [4]}
    assert read_regions(None) is None
    for text in ("WT", "{WT: a}", "{}", "[1, 2]", "{WT: [1"):
        with pytest.raises(InputError, match="expected the labels of each region"):
            read_regions(text)


def test_scoring_needs_neither_torch_nor_monai() -> None:
    code = (
        "import sys, cggm.pipelines.commands.score\n"
        "print([name for name in ('torch', 'monai', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
