"""Published data sets become feature sets: whole, once, and as training reads them."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features.feature_set import check_feature_set, open_feature_set
from cggm.data.features.file import FeatureFile
from cggm.data.published.iemocap import read_iemocap
from cggm.data.published.mosi import read_mosi
from cggm.pipelines.commands.app import main
from cggm.pipelines.commands.convert import RECORD, convert

from ..children import in_a_child
from ..data.published_files import (
    mosi,
    write_food101,
    write_food_lists,
    write_iemocap,
    write_mosi,
)
from ..processes import commands

CONVERT = ("cggm", "convert")


def test_mosi_as_training_reads_it(tmp_path: Path) -> None:
    content = mosi()
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert convert(found, tmp_path / "set")
    assert check_feature_set(tmp_path / "set") == []
    opened = open_feature_set(tmp_path / "set", task="regression")
    assert opened.modalities == ["text", "audio", "vision"]
    assert opened.ids == [row["id"] for row in found.rows] and opened.ids[0].startswith("-vid0")
    assert opened.groups[opened.ids[0]] == "-vid0"
    assert not opened.generated and "CMU-MOSI" in opened.name
    for index, name in enumerate(opened.ids[:6]):
        original = content["train"]["text"][index]
        expected = original[original.any(axis=1)]
        np.testing.assert_array_equal(opened.files["text"].read(name), expected)
        assert opened.labels[name] == pytest.approx(content["train"]["labels"][index].item())
        assert opened.splits[name] == "train"


def test_iemocap_as_training_reads_it(tmp_path: Path) -> None:
    found = read_iemocap(write_iemocap(tmp_path / "iemocap"), fold=2)
    assert convert(found, tmp_path / "set", dtype="float16")
    assert check_feature_set(tmp_path / "set") == []
    opened = open_feature_set(tmp_path / "set", task="classification")
    assert opened.classes == ["angry", "happy", "neutral", "sad"]
    assert [opened.labels[name] for name in opened.ids[:4]] == [0, 1, 2, 3]
    for name, array in found.modalities["audio"].read():
        np.testing.assert_allclose(opened.files["audio"].read(name), array, rtol=2e-3, atol=1e-3)
    about = FeatureFile(tmp_path / "set" / "text.npy").about
    assert about["settings"]["fold"] == "2"


def test_the_same_source_is_not_converted_twice(tmp_path: Path) -> None:
    path = write_mosi(tmp_path / "mosi.pkl")
    assert convert(read_mosi(path), tmp_path / "set")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()}
    assert not convert(read_mosi(path), tmp_path / "set")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()} == before
    with pytest.raises(InputError, match=r"already holds .*different: settings, fingerprint"):
        convert(read_mosi(path, padding="together"), tmp_path / "set")
    content = mosi()
    content["train"]["text"][0, -1, 0] += 1
    with pytest.raises(InputError, match=r"another source .*\(different: fingerprint\); choose"):
        convert(read_mosi(write_mosi(path, content)), tmp_path / "set")
    (tmp_path / "set" / RECORD).write_text("{")
    with pytest.raises(InputError, match="already holds a feature set made of another source"):
        convert(read_mosi(path), tmp_path / "set")


def test_what_is_in_the_way_is_kept(tmp_path: Path) -> None:
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="full is not empty and was not written by this command"):
        convert(found, tmp_path / "full")
    with pytest.raises(InputError, match="mosi.pkl is a file and was not written"):
        convert(found, tmp_path / "mosi.pkl")
    with pytest.raises(InputError, match="set cannot be written"):
        convert(found, tmp_path / "mosi.pkl" / "set")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert convert(found, tmp_path / "empty")
    assert (tmp_path / "empty" / RECORD).is_file()


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl"))

    def stopped() -> Iterator[tuple[str, np.ndarray]]:
        yield "-vid0_0.5_1.5", np.ones((1, 5))
        raise KeyboardInterrupt

    vision = dataclasses.replace(found.modalities["vision"], read=stopped)
    found.modalities["vision"] = vision
    with pytest.raises(KeyboardInterrupt):
        convert(found, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["mosi.pkl"]


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_a_killed_command_left_is_cleared(tmp_path: Path) -> None:
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl"))
    gone = in_a_child(lambda: None)
    os.waitpid(gone, 0)
    for name in (
        f".set.{gone}.tmp",
        f".set.{os.getppid()}.tmp",
        ".set.thesis.tmp",
        f".x.{gone}.tmp",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.npy").write_text("half")
    convert(found, tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f".set.{os.getppid()}.tmp", ".set.thesis.tmp", f".x.{gone}.tmp", "mosi.pkl", "set"]
    ), "those of processes that run, and of other names, are kept"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_leaves_nothing(number: int, code: int, tmp_path: Path) -> None:
    content = mosi(steps=60)
    for part in content.values():
        for key in ("text", "audio", "vision"):
            part[key] = np.repeat(part[key], 400, axis=0)
        part["labels"] = np.repeat(part["labels"], 400, axis=0)
        del part["id"]
    write_mosi(tmp_path / "mosi.pkl", content)
    child = in_a_child(lambda: os._exit(_converting(tmp_path)))
    while not any(path.name.startswith(".set") for path in tmp_path.iterdir()):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    assert [path.name for path in tmp_path.iterdir()] == ["mosi.pkl"]


def _converting(folder: Path) -> int:
    """Convert like the command; give the number with which it ends."""
    sys.argv = ["cggm", "convert", "mosi", str(folder / "mosi.pkl"), str(folder / "set")]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_food101_becomes_a_table_for_extraction(tmp_path: Path) -> None:
    root = write_food101(tmp_path / "food")
    (root / "images/train/sushi/sushi_0.jpg").unlink()
    write_iemocap(tmp_path / "iemocap")
    write_food_lists(tmp_path / "lists")
    (tmp_path / "evil.pkl").write_bytes(b"cposix\nsystem\n(S'touch marker'\ntR.")
    food, again, lists, iemocap, evil, usage = commands(
        [
            [*CONVERT, "food101", "food", "out/food", "--most_left_out", "0.1"],
            [*CONVERT, "food101", "food", "out/food", "--most_left_out", "0.1"],
            [*CONVERT, "food101", "lists", "out/lists", "--check_duplicates"],
            [*CONVERT, "iemocap", "iemocap", "out/iemocap", "--fold", "2", "--dtype", "float16"],
            [*CONVERT, "mosi", "evil.pkl", "out/evil"],
            [*CONVERT, "brats", "food", "out/x"],
        ],
        tmp_path,
    )
    assert food[0] == 0 and "written: out/food" in food[1] and "apple_pie" in food[1]
    assert "1 of 18 (5.6 %) samples are left out: a text but no image" in food[1]
    assert "cggm extract image --table out/food/samples.csv --set out/food" in food[1]
    assert again[0] == 0 and "already there: out/food" in again[1]
    assert lists[0] == 0 and "no image lies in two parts" in lists[1]
    assert iemocap[0] == 0 and "IEMOCAP, fold 2" in iemocap[1]
    assert evil[0] == 1 and evil[2].startswith("error: evil.pkl holds posix.system, which could")
    assert "Traceback" not in evil[2] and not (tmp_path / "marker").exists()
    assert usage[0] == 2 and "No such command 'brats'" in usage[2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "food",
        "iemocap",
        "lists",
    ]

    folder = tmp_path / "out" / "food"
    with open(folder / "samples.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "split", "image", "text"] and len(rows) == 17
    assert all((folder / row["image"]).is_file() for row in rows)
    assert rows[0]["text"] == '=The "best" apple_pie, ever | Café'
    assert "sushi_0.jpg" in (folder / "left_out.csv").read_text()
    header = json.loads((folder / "dataset.json").read_text())
    assert header["classes"] == ["apple_pie", "sushi", "waffles"] and not header["generated"]
