"""The check command recognizes what it is given, says what is there, and what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cggm.data.features.feature_set import write_samples
from cggm.data.features.file import FeatureFile
from cggm.data.published.food101 import read_food101
from cggm.data.published.mosi import read_mosi
from cggm.pipelines.commands.check import recognize
from cggm.pipelines.commands.convert import convert

from ..data.brains import write_case
from ..data.published_files import (
    mosi,
    write_food101,
    write_food_lists,
    write_iemocap,
    write_mosi,
)
from ..processes import commands

CHECK = ("cggm", "check")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = mosi()
    content["train"]["audio"][0, 0, 0] = float("-inf")
    write_mosi(tmp_path / "mosi.pkl", content)
    write_iemocap(tmp_path / "iemocap")
    write_food101(tmp_path / "food")
    write_food_lists(tmp_path / "lists")
    write_case(tmp_path / "brats", "P1")
    (tmp_path / "brats" / "P2").mkdir()
    convert(read_mosi(tmp_path / "mosi.pkl"), tmp_path / "set")
    return tmp_path


def test_kinds_are_recognized(folder: Path) -> None:
    expected = {
        "mosi.pkl": "mosi",
        "iemocap": "iemocap",
        "food": "food101",
        "lists": "food101",
        "brats": "brats",
        "set": "features",
        "nothing": "brats",
    }
    assert {name: recognize(folder / name) for name in expected} == expected
    # A header of another project does not make a feature set.
    (folder / "brats" / "dataset.json").write_text(json.dumps({"modality": {"0": "FLAIR"}}))
    assert recognize(folder / "brats") == "brats"


def test_a_folder_for_each_patient_as_cggm_segment_reads_it(tmp_path: Path) -> None:
    for number in range(2):
        write_case(tmp_path / "raw", f"P{number}", number)
        folder = tmp_path / "raw" / f"P{number}"
        for name in ("flair", "t1", "t1ce", "t2"):
            (folder / f"P{number}_{name}.nii.gz").rename(folder / f"{name}.nii.gz")
        (folder / f"P{number}_seg.nii.gz").unlink()
    shutil.copytree(tmp_path / "raw", tmp_path / "less")
    (tmp_path / "less" / "P1" / "t1.nii.gz").unlink()
    (tmp_path / "raw" / "P0" / "t2.nii.gz").write_bytes(b"")
    damaged, less, allowed, training, foo, masks = commands(
        [
            [*CHECK, "raw", "--layout", "folders"],
            [*CHECK, "less"],
            [*CHECK, "less", "--allow_missing"],
            [*CHECK, "less", "--labels", "required"],
            [*CHECK, "less", "--layout", "foo"],
            [*CHECK, "less", "--layout", "folders", "--labels", "required"],
        ],
        tmp_path,
    )
    assert damaged[1].startswith("2 cases, layout folders") and "1 of 2 cases" in damaged[1]
    assert "t2.nii.gz is empty" in damaged[2]
    assert "case P1: no file for t1 (tried t1.nii.gz" in less[2] and less[0] == 1
    assert "2 of 2 cases can be used" in allowed[1] and "need names such as" in allowed[1]
    assert allowed[0] == 0 and "no case was recognized in less" in training[2]
    assert "known are ['auto', 'folders', " in foo[2]
    assert "no masks are read in layout folders" in masks[2]


def test_what_is_fine_and_what_is_not(folder: Path) -> None:
    broken = mosi()
    broken["test"]["labels"][0] = 9
    write_mosi(folder / "broken.pkl", broken)
    write_case(folder / "bad", "P1")
    (folder / "bad" / "P1" / "P1_t2.nii.gz").write_bytes(b"")
    convert(read_mosi(folder / "mosi.pkl"), folder / "cut")
    (folder / "cut" / "audio.npy").unlink()
    convert(read_food101(folder / "food"), folder / "pairs")
    shutil.copytree(folder / "set", folder / "new")
    ids = FeatureFile(folder / "new" / "text.npy").ids
    write_samples(folder / "new", [{"id": name} for name in ids])
    results = commands(
        [
            [*CHECK, name]
            for name in ("mosi.pkl", "iemocap", "food", "set", "brats", "broken.pkl", "bad", "cut")
        ]
        + [
            [*CHECK, "food", "--kind", "brats"],
            [*CHECK, "iemocap", "--fold", "9"],
            [*CHECK, "pairs"],
            [*CHECK, "typo.pkl"],
            [*CHECK, "new"],
        ],
        folder,
    )
    pickle, iemocap, food, features, brats, wrong, bad, cut, forced, fold, pairs, typo, new = (
        results
    )
    assert [code for code, _, _ in results] == [0] * 5 + [1] * 7 + [0]
    assert not any("Traceback" in errors for _, _, errors in results)

    assert "train: 6 samples, labels" in pickle[1]
    assert "text: width 6, steps 2 / 5 / 7 (min / median / max)" in pickle[1]
    assert "note: audio: values that are not finite became 0 in 1 of 13" in pickle[1]
    assert "1 -infinity" in pickle[1]
    lines = [line.split() for line in iemocap[1].splitlines()]
    assert ["class", "train", "val", "test"] in lines and ["sad", "4", "1", "1"] in lines
    assert "UPMC-Food 101, classification, 18 samples" in food[1]
    assert "13 samples can be used" in features[1] and "vision: width 5" in features[1]
    assert "1 of 1 case can be used\nnot used: 1 folder (P2) without any image" in brats[1]

    assert wrong[2].startswith("error: broken.pkl, part test: labels: 1 of 4 (25.0 %) lie outside")
    assert "is empty (0 bytes)" in bad[2] and "0 of 1 case can be used" in bad[1]
    assert "no features of audio" in cut[2] and "it cannot be used" in cut[1]
    assert "no case was recognized in food" in forced[2]
    assert "has no fold '9'; there are 1, 2" in fold[2]
    assert "pairs has samples but no features yet: extract them" in pairs[2]
    assert "13 samples can be predicted; without labels none can train or test" in new[1]
    assert typo[2] == "error: there is no file or folder typo.pkl; is the path right?\n"
