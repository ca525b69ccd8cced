"""Parts of a feature set: published ones stand, missing ones are drawn, groups stay whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.data.features.feature_set import FeatureSet, open_feature_set
from cggm.data.features.splits import split_features
from cggm.data.splits import PARTS

from .feature_sets import edit_header, feature_set, rows_of

TEXT = {"text": 2}


def opened(folder: Path, rows: list[dict[str, Any]], task: str = "classification") -> FeatureSet:
    return open_feature_set(feature_set(folder, rows, task=task, widths=TEXT))


def published(samples: int, parts: str = "train train test") -> list[dict[str, Any]]:
    """Rows whose parts come in blocks of three, so that every part has every class."""
    words = parts.split()
    return [
        row | {"split": words[number // 3 % len(words)]}
        for number, row in enumerate(rows_of(samples))
    ]


def test_published_parts_are_used(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", published(30, "train val test"))
    split = split_features(data, tmp_path)
    assert split == {part: sorted(n for n in data.ids if data.splits[n] == part) for part in PARTS}
    kept = json.loads((tmp_path / "split.json").read_text())
    assert kept["origin"] == dict.fromkeys(PARTS, "published") and "seed" not in kept
    assert split_features(data, tmp_path, seed=9, val_fraction=0.3) == split, "nothing is drawn"


def test_validation_is_carved_out_of_train(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", published(180))
    split = split_features(data, tmp_path)
    assert split["test"] == sorted(n for n in data.ids if data.splits[n] == "test")
    assert {data.splits[name] for name in split["val"]} == {"train"}
    assert Counter(data.labels[name] for name in split["val"]) == {0: 4, 1: 4, 2: 4}
    kept = json.loads((tmp_path / "split.json").read_text())
    assert kept["origin"] == {
        "train": "published",
        "val": "carved out of train",
        "test": "published",
    }
    assert kept["val_fraction"] == 0.1 and "test_fraction" not in kept
    assert split_features(data, tmp_path, test_fraction=0.4) == split
    assert split_features(data, None) == split != split_features(data, None, seed=1)


def test_a_missing_test_part_is_carved_out_of_train(tmp_path: Path) -> None:
    data = opened(tmp_path, published(90, "train val"))
    split = split_features(data, None)
    assert split["val"] == sorted(n for n in data.ids if data.splits[n] == "val")
    assert len(split["test"]) == 9 and not {"val"} & {data.splits[n] for n in split["test"]}


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_all_parts_are_drawn_by_class_or_range(tmp_path: Path, task: str) -> None:
    data = opened(tmp_path, rows_of(300, task), task)
    split = split_features(data, None)
    assert {part: len(split[part]) for part in PARTS} == {"train": 210, "val": 30, "test": 60}
    assert sorted(sum(split.values(), [])) == data.ids
    bins = Counter(
        data.labels[name] if task == "classification" else int(name[1:]) // 30
        for name in split["test"]
    )
    assert set(bins.values()) == ({20} if task == "classification" else {6})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_groups_stay_whole(tmp_path: Path, task: str, seed: int) -> None:
    rows = [row | {"group": f"g{n * n % 41}"} for n, row in enumerate(rows_of(300, task))]
    data = opened(tmp_path, rows, task)
    split = split_features(data, None, seed=seed)
    owners = [{data.groups[name] for name in split[part]} for part in PARTS]
    assert sum(map(len, owners)) == len(set.union(*owners)), "a group is in two parts"
    assert 27 <= len(split["val"]) <= 33 and 57 <= len(split["test"]) <= 63
    assert split == split_features(data, None, seed=seed)


@pytest.mark.parametrize(
    ("per_class", "per_group"), [(2, 1), (3, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2), (9, 4)]
)
def test_parts_have_their_sizes_with_many_small_classes(
    tmp_path: Path, per_class: int, per_group: int
) -> None:
    classes = [f"c{number:03}" for number in range(60)]
    rows = [
        {"id": f"s{n:04}", "label": classes[n // per_class], "group": f"g{n // per_group}"}
        for n in range(per_class * len(classes))
    ]
    folder = feature_set(tmp_path, rows, widths=TEXT)
    edit_header(folder, classes=classes)
    split = split_features(open_feature_set(folder), None)
    assert len(split["test"]) == pytest.approx(0.2 * len(rows), abs=per_group)
    assert len(split["val"]) == pytest.approx(0.1 * len(rows), abs=per_group)


def test_the_shares_of_uneven_classes_are_kept(tmp_path: Path) -> None:
    counts = {"pie": 100, "soup": 30, "tea": 7}
    labels = [label for label, count in counts.items() for _ in range(count)]
    rows = [{"id": f"s{n:03}", "label": label} for n, label in enumerate(labels)]
    data = opened(tmp_path, rows)
    for seed in range(5):
        split = split_features(data, None, seed=seed)
        found = Counter(data.labels[name] for name in split["test"])
        assert [found[n] for n in range(3)] == [20, 6, 1]
    first, second = (split_features(data, None, seed=seed)["test"] for seed in (0, 1))
    assert first != second


def test_what_is_kept_needs_no_setting_again(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", rows_of(60))
    split = split_features(data, tmp_path, seed=3, val_fraction=0.3)
    assert split_features(data, tmp_path) == split != split_features(data, None)


def test_a_rare_class_stays_in_train(tmp_path: Path) -> None:
    rows = rows_of(60)
    for row in rows[:58]:
        row["label"] = "pie" if row["label"] == "tea" else row["label"]
    for number in range(10):
        data = opened(tmp_path / str(number), rows)
        split = split_features(data, None, seed=number)
        assert 2 in {data.labels[name] for name in split["train"]}
        assert all(split.values())


@pytest.mark.parametrize("samples", [9, 12, 20])
def test_small_sets_have_no_empty_part(tmp_path: Path, samples: int) -> None:
    data = opened(tmp_path, rows_of(samples))
    for seed in range(5):
        split = split_features(data, None, seed=seed)
        assert all(split.values()) and len({data.labels[n] for n in split["train"]}) == 3


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    data = opened(tmp_path / "a", rows_of(3))
    with pytest.raises(InputError, match="nothing can be held out of 3 samples so that every"):
        split_features(data, tmp_path)
    rows = [row | {"group": "one"} for row in rows_of(60)]
    with pytest.raises(InputError, match="nothing can be held out of 60 samples"):
        split_features(opened(tmp_path / "b", rows), tmp_path)
    rows = [row | {"split": "test"} for row in rows_of(60)]
    with pytest.raises(InputError, match="no sample is for training, all are for test"):
        split_features(opened(tmp_path / "c", rows), tmp_path)
    assert not (tmp_path / "split.json").exists()


def test_published_parts_are_checked(tmp_path: Path) -> None:
    rows = [row | {"group": f"g{n % 10}"} for n, row in enumerate(published(30, "train val test"))]
    with pytest.raises(InputError, match="samples.csv has the same groups in two parts: g1, g2"):
        split_features(opened(tmp_path / "a", rows), None)
    rows = published(30, "train val test")
    for row in rows:
        row["label"] = "soup" if row["split"] == "train" else row["label"]
    with pytest.raises(InputError, match="training has no sample of these classes: pie, tea"):
        split_features(opened(tmp_path / "b", rows), None)


def test_a_file_of_other_settings_or_data_is_refused(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", rows_of(60))
    split_features(data, tmp_path)
    with pytest.raises(InputError, match="made with split_seed 0, now it is 1; use the old"):
        split_features(data, tmp_path, seed=1)
    with pytest.raises(InputError, match="made with val_fraction 0.1, now it is 0.2"):
        split_features(data, tmp_path, val_fraction=0.2)
    with pytest.raises(InputError, match="lacks samples that were found: s060, s061"):
        split_features(opened(tmp_path / "more", rows_of(62)), tmp_path)
    with pytest.raises(InputError, match="holds samples that were not found: s050, .*; give the"):
        split_features(opened(tmp_path / "less", rows_of(50)), tmp_path)
    with pytest.raises(InputError, match=r"made with origin \(train: drawn, .*now it is"):
        split_features(opened(tmp_path / "parts", published(60)), tmp_path)
    other = opened(tmp_path / "moved", published(60, "train test val"))
    split_features(opened(tmp_path / "old", published(60, "train val test")), tmp_path / "run")
    with pytest.raises(InputError, match="puts 39 samples into another part than samples.csv"):
        split_features(other, tmp_path / "run")


def test_a_published_test_sample_never_becomes_validation(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", published(90))
    split = split_features(data, tmp_path)
    file = tmp_path / "split.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"val": split["test"], "test": split["val"]}))
    with pytest.raises(InputError, match="samples into another part than samples.csv"):
        split_features(data, tmp_path)


def test_a_file_of_the_user(tmp_path: Path) -> None:
    data = opened(tmp_path / "set", [r | {"group": r["id"][:3]} for r in rows_of(60)])
    mine = {"train": data.ids[:30], "val": data.ids[30:40], "test": data.ids[40:]}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(mine))
    out = tmp_path / "out"
    assert split_features(data, out, split_file=file) == mine
    assert split_features(data, out, split_file=file) == mine
    assert split_features(data, out) == mine, "what comes after training needs not repeat the file"
    with pytest.raises(InputError, match="was taken from .*mine.json: pass it again with --split"):
        split_features(data, out, seed=0)
    split_features(data, tmp_path / "drawn", seed=3)
    with pytest.raises(InputError, match="split.json holds another split than .*mine.json: leave"):
        split_features(data, tmp_path / "drawn", split_file=file)
    for change, message in (
        ({"val": [], "train": data.ids[:40]}, "the part val is empty; expected at least one sampl"),
        ({"train": data.ids[:35], "val": data.ids[35:40]}, "the same groups in two parts: s03"),
        ({"test": data.ids[41:]}, "mine.json lacks samples that were found: s040"),
        ({"val": data.ids[30:40] * 2}, "lists these samples more than once: s030"),
        ({"val": "s001"}, 'no list of case names under "val"'),
    ):
        file.write_text(json.dumps(mine | change))
        with pytest.raises(InputError, match=message):
            split_features(data, tmp_path, split_file=file)
    assert not (tmp_path / "split.json").exists()


@pytest.mark.parametrize("shares", [(0, 0.2), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.2)])
def test_wrong_fractions_are_refused(tmp_path: Path, shares: tuple[float, float]) -> None:
    data = opened(tmp_path, rows_of(30))
    with pytest.raises(InputError, match="val_fraction is .*; expected numbers above 0 that add"):
        split_features(data, None, val_fraction=shares[0], test_fraction=shares[1])


def test_samples_without_label_cannot_be_drawn(tmp_path: Path) -> None:
    rows = [row | {"label": "" if row["id"] == "s003" else row["label"]} for row in rows_of(30)]
    folder = feature_set(tmp_path, rows, widths=TEXT)
    with pytest.raises(InputError, match="s003 has no label, so it cannot be split"):
        split_features(open_feature_set(folder, labels="optional"), None)
