"""Splits: by patient, the same in every run, and refused when they do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.data.patients import patient_of
from cggm.data.splits import PARTS, read_split, split_cases

NAMES = [f"BraTS2021_{number:05}" for number in range(20)]
VISITS = [f"BraTS-GLI-{number // 3:05}-{number % 3:03}" for number in range(60)]
DATED = [f"P{number // 3:02}_2024-0{number % 3 + 1}-11" for number in range(60)]


def save(file: Path, content: Any) -> Path:
    file.write_text(json.dumps(content))
    return file


def folds(names: list[str] = NAMES) -> dict[str, Any]:
    """A published file of five folds."""
    return {
        "training": [
            {
                "fold": number % 5,
                "image": [f"TrainingData/{name}/{name}_{part}.nii.gz" for part in ("flair", "t1")],
                "label": f"TrainingData/{name}/{name}_seg.nii.gz",
            }
            for number, name in enumerate(names)
        ]
    }


def test_every_case_lies_in_one_part_in_the_right_proportion() -> None:
    split = split_cases(NAMES)
    assert [len(split[part]) for part in PARTS] == [14, 2, 4]
    assert sorted(split["train"] + split["val"] + split["test"]) == NAMES
    assert all(split[part] == sorted(split[part]) for part in PARTS)


def test_order_does_not_matter_and_seeds_do() -> None:
    assert split_cases(NAMES[::-1]) == split_cases(NAMES) != split_cases(NAMES, seed=1)


@pytest.mark.parametrize("visits", [VISITS, DATED])
def test_visits_of_a_patient_stay_together(visits: list[str]) -> None:
    for seed in range(10):
        split = split_cases(visits, seed=seed)
        owners = [{patient_of(name) for name in split[part]} for part in PARTS]
        assert [len(owner) for owner in owners] == [14, 2, 4]
        assert len(set.union(*owners)) == 20


@pytest.mark.parametrize("patients", range(3, 30))
@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.98, 0.01, 0.01), (0.01, 0.01, 0.98)])
def test_no_part_is_empty(patients: int, fractions: tuple[float, ...]) -> None:
    names = [f"P{number}" for number in range(patients)]
    split = split_cases(names, fractions=fractions)
    assert all(split.values()) and sum(map(len, split.values())) == patients


def test_split_is_kept_and_read_again(tmp_path: Path) -> None:
    split = split_cases(NAMES, tmp_path / "run", seed=4)
    content = json.loads((tmp_path / "run/split.json").read_text())
    assert content["seed"] == 4 and content["counts"] == {"train": 14, "val": 2, "test": 4}
    assert split_cases(NAMES, tmp_path / "run", seed=4) == split
    assert read_split(tmp_path / "run/split.json", NAMES) == split
    moved = {part: content[part] for part in PARTS}
    moved["train"], moved["val"] = moved["train"][1:], [*moved["val"], moved["train"][0]]
    mine = save(tmp_path / "mine.json", moved)
    assert len(split_cases(NAMES, mine)["val"]) == 3


def test_a_kept_split_needs_no_setting_again(tmp_path: Path) -> None:
    split = split_cases(NAMES, tmp_path, seed=4, fractions=(0.5, 0.25, 0.25))
    assert split_cases(NAMES, tmp_path) == split != split_cases(NAMES)


def test_split_of_other_cases_or_settings_is_refused(tmp_path: Path) -> None:
    split_cases(NAMES, tmp_path)
    with pytest.raises(InputError, match="lacks cases that were found: P1, P2; give the"):
        split_cases([*NAMES, "P1", "P2"], tmp_path)
    with pytest.raises(InputError, match="holds cases that were not found: BraTS2021_00000, .* 8 "):
        split_cases(NAMES[18:], tmp_path)
    with pytest.raises(InputError, match="was made with split_seed 0, now it is 1"):
        split_cases(NAMES, tmp_path, seed=1)
    with pytest.raises(InputError, match=r"was made with fractions \[0.7, 0.1, 0.2\], now"):
        split_cases(NAMES, tmp_path, fractions=(0.8, 0.1, 0.1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "holds a list; expected an object"),
        ("{", "is not JSON"),
        ('{"train": ["P1"], "val": ["P2"]}', 'no list of case names under "test"'),
        ('{"train": ["P1"], "val": ["P2"], "test": [3]}', 'no list of case names under "test"'),
        ('{"train": ["P1", "P2", "P3"], "val": [], "test": []}', "the part val is empty"),
        ('{"train": ["P1", "P2"], "val": ["P2"], "test": ["P3"]}', "in two parts: P2"),
        ('{"training": [{"image": "P1.nii.gz"}]}', 'no usable "fold" and "image"'),
        ('{"training": [{"fold": 1e999, "image": "P1"}]}', 'no usable "fold" and "image"'),
        ('{"training": 3}', 'no usable "fold" and "image"'),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "split.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_split(file, ["P1", "P2", "P3"])


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no.json cannot be read: No such file"):
        read_split(tmp_path / "no.json", NAMES)


def test_patient_in_two_parts_is_refused(tmp_path: Path) -> None:
    file = save(
        tmp_path / "split.json",
        {"train": VISITS[:1], "val": VISITS[1:3], "test": VISITS[3:6]},
    )
    with pytest.raises(InputError, match="same patients in two parts: BraTS-GLI-00000;"):
        read_split(file, VISITS[:6])


@pytest.mark.parametrize(
    ("fractions", "message"),
    [((0.5, 0.5), "three positive"), ((0.8, 0.2, 0.0), "three positive"), ((1, 1, 1), "add up")],
)
def test_wrong_fractions_are_refused(fractions: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_cases(NAMES, fractions=fractions)


def test_two_patients_cannot_be_split() -> None:
    with pytest.raises(InputError, match="2 patients .* cannot be split"):
        split_cases(VISITS[:6])


def test_published_folds(tmp_path: Path) -> None:
    file = save(tmp_path / "brats21_folds.json", folds())
    split = read_split(file, NAMES, fold=1)
    assert split["val"] == split["test"] == NAMES[1::5] and len(split["train"]) == 16
    split = read_split(file, NAMES, fold=1, test_fold=0)
    assert (split["val"], split["test"]) == (NAMES[1::5], NAMES[::5]) and len(split["train"]) == 12


def test_published_folds_of_the_decathlon(tmp_path: Path) -> None:
    names = [f"BRATS_{number:03}" for number in range(10)]
    entries = [
        {"fold": number % 2, "image": f"./imagesTr/{name}.nii.gz"}
        for number, name in enumerate(names)
    ]
    file = save(tmp_path / "folds.json", {"training": entries})
    assert read_split(file, names, fold=0)["val"] == names[::2]


def test_wrong_folds_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "folds.json", folds())
    for settings in ({}, {"fold": 5}, {"fold": 1, "test_fold": 1}, {"fold": 1, "test_fold": 9}):
        with pytest.raises(InputError, match=r"holds the folds \[0, 1, 2, 3, 4\]; fold"):
            read_split(file, NAMES, **settings)
    with pytest.raises(InputError, match="holds cases that were not found: BraTS2021_00019"):
        read_split(file, NAMES[:19], fold=0)
    with pytest.raises(InputError, match="same patients in two parts"):
        read_split(save(file, folds(VISITS)), VISITS, fold=0)
    split_cases(NAMES, tmp_path / "split.json")
    with pytest.raises(InputError, match="holds no folds, so fold 2 cannot be taken"):
        read_split(tmp_path / "split.json", NAMES, fold=2)
