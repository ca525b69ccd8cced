"""Folders in nnU-Net's form: `dataset.json` says what channels and labels are, or nobody does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES, find_cases
from cggm.data.brats.nifti import read_case
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        find_cases(folder, **settings)  # pyright: ignore[reportArgumentType]
    return str(error.value)


def nnunet(root: Path, writer: NiftiCaseWriter, description: object) -> None:
    for folder, names in {"Tr": ("BRATS_001", "BRATS_002"), "Ts": ("BRATS_003",)}.items():
        for name in names:
            for channel in range(4):
                path = root / f"images{folder}" / f"{name}_{channel:04}.nii.gz"
                writer.save(path, writer.image(channel))
            if folder == "Tr":
                writer.save(root / "labelsTr" / f"{name}.nii.gz", writer.label((0, 1, 2, 3)))
    if description:
        (root / "dataset.json").write_text(json.dumps(description))


def test_tasks_whose_labels_differ_are_not_mixed(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    for task, labels in {"a": REGIONS, "b": PEDS}.items():
        nnunet(tmp_path / task, nifti_cases, {"channel_names": CHANNELS, "labels": labels})
        for path in sorted((tmp_path / task).rglob("BRATS*")):
            path.rename(path.with_name(path.name.replace("BRATS", task)))
    message = refusal(tmp_path)
    assert "the labels of several tasks mean different things" in message
    assert "msd" in message and "brats_peds2024" in message


CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}
REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}
PEDS = {"background": 0, "ET": 1, "NonEnh": 2, "Cystic": 3, "Edema": 4}


def test_nnunet_names_its_channels(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nnunet(tmp_path, nifti_cases, {"channel_names": CHANNELS, "labels": REGIONS})
    notes: list[str] = []
    cases = find_cases(tmp_path, say=notes.append)
    assert [case.name for case in cases] == ["BRATS_001", "BRATS_002"]
    assert {case.convention for case in cases} == {"msd"}, "1 is edema, 2 the rest of the core"
    order = ("t1", "t1ce", "t2", "flair")
    images = read_case(cases[0], SEQUENCES).images
    for channel, key in enumerate(order):
        assert np.array_equal(images[key], nifti_cases.image(channel))
    assert len(notes) == 1 and "4 files (imagesTs/BRATS_003_0000.nii.gz," in notes[0]
    assert len(find_cases(tmp_path, labels="optional")) == 3, "imagesTs can be segmented"
    flat = find_cases(tmp_path / "imagesTs", labels="ignored")
    assert [case.name for case in flat] == ["BRATS_003"]


@pytest.mark.parametrize(
    ("labels", "convention"),
    [
        (REGIONS, "msd"),
        ({"background": 0, "edema": 1, "necrosis": 2, "enhancing tumour": 3}, "msd"),
        ({"0": "background", "1": "NCR", "2": "ED", "3": "ET"}, "brats2023"),
        ({"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}, "brats2024"),
        (PEDS, "brats_peds2024"),
    ],
)
def test_labels_of_nnunet_are_taken_from_their_names(
    labels: object, convention: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nnunet(tmp_path, nifti_cases, {"channel_names": CHANNELS, "labels": labels})
    assert {case.convention for case in find_cases(tmp_path)} == {convention}
    message = refusal(tmp_path, label_convention="brats2021")
    assert f"as {convention}: leave label_convention out, or correct dataset.json" in message


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (None, ["in nnU-Net's form", "no dataset.json says", '"channel_names"']),
        ({"channel_names": CHANNELS}, ["label_convention is not given", "choose brats2021 or"]),
        ({"channel_names": CHANNELS, "labels": {"a": 1}}, ["label_convention is not given"]),
        ({"channel_names": {"0": "T1"}}, ["is channel 1, but dataset.json names ['t1'] only"]),
        ({"channel_names": {"0": "CT"}}, ["names the volumes ['CT']"]),
        (
            {"channel_names": CHANNELS, "labels": {"ET": 1, "NCR": 2, "ED": 3}},
            ["the labels are 1 ET, 2 NCR, 3 ED, which is none of the known conventions"],
        ),
    ],
)
def test_nnunet_that_does_not_say_enough(
    description: object, words: Sequence[str], tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nnunet(tmp_path, nifti_cases, description)
    message = refusal(tmp_path)
    assert all(word in message for word in words), message
    assert "\n" not in message
