"""Stand-ins: samples as their packages give them, and groups that are never divided."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.pipelines.research.stand_ins import CATALOGUE, StandIn, open_stand_in
from cggm.pipelines.research.stand_ins.stand_in import groups, split
from cggm.pipelines.research.stand_ins.watch import read_object_array

from . import fake_sets
from .fake_packages import program

Open = Callable[[str], StandIn]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Make the fake packages of a set and open it."""

    def make(name: str) -> StandIn:
        archives = getattr(fake_sets, name.removesuffix("_groups"))(tmp_path)
        wanted = archives[: len(CATALOGUE[name].files)]
        fake_sets.install(name, wanted, tmp_path / "cache", monkeypatch)
        return open_stand_in(name, tmp_path / "cache")[0]

    return make


def by_id(stand_in: StandIn) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in stand_in.rows}


def check_split(stand_in: StandIn) -> None:
    parts: dict[str, set[str]] = {}
    for row in stand_in.rows:
        parts.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in parts.values()), "a group is divided"
    assert set().union(*parts.values()) == {"train", "val", "test"}


def test_foods(opened: Open, tmp_path: Path) -> None:
    foods = opened("foods")
    rows = by_id(foods)
    assert foods.classes == ["Cereals", "Fruits"]
    assert len(rows) == 31
    assert foods.left_out["of a food group with fewer than 14"] == 2
    assert rows["F000"]["text"] == "Fruits, kind 0"
    assert rows["F003"]["text"] == "Fruits, kind 3 (Malus)"
    assert rows["F000"]["group"] == rows["F001"]["group"] != rows["F002"]["group"]
    assert foods.modalities == ["image", "text", "nutrients"]
    assert list(foods.optional) == ["nutrients"]
    np.testing.assert_allclose(foods.vectors["nutrients"]["F007"], [[np.log(8), 0]], rtol=1e-6)
    root = tmp_path / "cache" / "stand_ins" / "foods"
    assert all((root / row["image"]).is_file() for row in foods.rows)
    assert (root / "samples.csv").read_text().startswith("id,label,image,text,group,split\n")
    check_split(foods)


def test_stamps_without_a_program_for_drawings(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stamps = opened("stamps")
    rows = by_id(stamps)
    assert stamps.name == "Tux Paint stamps without drawings"
    assert stamps.classes == ["animals", "town"]
    assert Counter(row["label"] for row in stamps.rows) == {"animals": 27, "town": 27}
    assert rows["town/thing5"]["text"] == "A town 5."
    assert rows["town/thing0"]["group"] == rows["town/thing1"]["group"], "their texts are the same"
    assert dict(stamps.left_out) == {
        "drawn in SVG, for which rsvg-convert is not installed": 1,
        "without a French recording": 1,
        "of the class symbols": 1,
        "of a class with fewer than 25": 0,
    }
    root = tmp_path / "cache" / "stand_ins" / "stamps"
    assert all((root / row[name]).is_file() for row in stamps.rows for name in ("audio", "vision"))
    assert not list(root.rglob("*_desc_es.ogg")), "other languages are not unpacked"
    check_split(stamps)


def test_stamps_with_a_program_for_drawings(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "drawn.png").write_bytes(fake_sets.picture(200))
    # Its last two arguments are the picture to write and the drawing.
    script = 'while [ $# -gt 2 ]; do shift; done; cat "$2" > /dev/null && cp {} "$1"'
    program(tmp_path / "bin", "rsvg-convert", script.format(tmp_path / "drawn.png"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin")
    stamps = opened("stamps")
    assert stamps.name == "Tux Paint stamps"
    assert by_id(stamps)["town/drawing"]["vision"].endswith("town/drawing.png")


def test_emoji_sentiment(opened: Open) -> None:
    emoji = opened("emoji")
    rows = by_id(emoji)
    assert emoji.task == "regression" and emoji.classes is None
    assert len(rows) == 30
    assert emoji.left_out == {"in fewer than 5 tweets": 1, "without a picture or keywords": 1}
    assert float(rows["1F600"]["label"]) == pytest.approx(30 / 43)
    assert float(rows["2764-FE0F"]["label"]) == pytest.approx(-30 / 43)
    assert rows["1F600"]["group"] == rows["1F601"]["group"], "their pictures are the same"
    assert rows["1F602"]["text"] == "face 2: face, mood 2"
    assert set(rows["1F602"]) == {"id", "label", "text", "vision", "group", "split"}
    check_split(emoji)


def test_emoji_groups(opened: Open) -> None:
    emoji = opened("emoji_groups")
    assert {row["label"] for row in emoji.rows} == {"Smileys"}
    assert len(emoji.rows) == 31


def test_digits(opened: Open) -> None:
    digits = opened("digits")
    rows = by_id(digits)
    assert digits.modalities == ["fac", "fou", "kar", "mor", "pix", "zer"]
    assert digits.vectors["mor"]["digit0000"].shape == (1, 5)
    assert rows["digit0059"]["label"] == "2"
    assert rows["digit0001"]["group"] == rows["digit0002"]["group"] != rows["digit0003"]["group"]
    check_split(digits)


def test_watch(opened: Open) -> None:
    watch = opened("watch")
    rows = by_id(watch)
    assert len(rows) == 30, "windows from 0, 100 and 200 of 10 recordings"
    assert rows["recording003-00200"]["label"] == "ROW"
    assert rows["recording003-00200"]["group"] == "person3"
    for name in ("accelerometer", "gyroscope"):
        assert watch.vectors[name]["recording009-00000"].shape == (100, 3)
    mean = watch.vectors["gyroscope"]["recording009-00000"].mean()
    assert mean == pytest.approx(9, abs=0.3)
    check_split(watch)


def test_a_pickle_that_would_run_something_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "x.npy").write_bytes(fake_sets.object_array({"X": Evil()}))
    with pytest.raises(InputError, match=r"holds \w+.system, which could run code"):
        read_object_array(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "y.npy").write_bytes(fake_sets.object_array({"X": 1})[:-4])
    with pytest.raises(InputError, match=r"y.npy is no pickle, or cut short or damaged"):
        read_object_array(tmp_path / "y.npy")
    np.save(tmp_path / "z.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"z.npy holds another array than expected"):
        read_object_array(tmp_path / "z.npy")


def test_groups_join_whatever_agrees() -> None:
    assert groups(["a", "b", "c", "d"], [1, 2, 3, 1]) == ["g0", "g1", "g2", "g0"]
    assert groups(["a", "b", "b", "c"], [1, 2, 3, 3]) == ["g0", "g1", "g1", "g1"]


def test_a_split_is_stratified_and_the_same_again() -> None:
    rows = [{"id": str(n), "label": "ab"[n % 5 == 0], "group": f"g{n // 2}"} for n in range(200)]
    stand_in = StandIn("x", "classification", [], "", rows)
    split(stand_in)
    first = [row["split"] for row in rows]
    split(stand_in)
    assert first == [row["split"] for row in rows]
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert counts["train", "b"] == pytest.approx(24, abs=3)
    assert counts["test", "b"] == pytest.approx(8, abs=2)
    check_split(stand_in)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no stand-in 'food' \(.*\); there are foods, stamps,"):
        open_stand_in("food", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(
    "CGGM_STAND_INS" not in os.environ, reason="CGGM_STAND_INS names no cache with the packages"
)
@pytest.mark.parametrize(
    ("name", "samples", "classes"),
    [
        ("foods", 505, 13),
        ("emoji", 615, None),
        ("emoji_groups", 1572, 8),
        ("digits", 2000, 10),
        ("watch", 2229, 7),
    ],
)
def test_the_real_packages(name: str, samples: int, classes: int | None) -> None:
    stand_in, root = open_stand_in(name, os.environ["CGGM_STAND_INS"])
    assert len(stand_in.rows) == samples
    assert (stand_in.classes and len(stand_in.classes)) == classes
    paths = [
        row[m] for row in stand_in.rows for m, kind in stand_in.kinds.items() if kind != "text"
    ]
    assert all((root / path).is_file() for path in paths)
    check_split(stand_in)
