"""UPMC-Food 101 in both layouts: what belongs together, what is left out, and broken tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.data.published.food101 import read_food101

from .published_files import FOODS, write_food101, write_food_lists


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_food101(tmp_path / "UPMC Food")


def refusal(root: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        read_food101(root, **settings)
    return str(error.value)


def append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8", newline="") as file:
        file.write(text)


def test_published_layout(root: Path) -> None:
    found = read_food101(root)
    assert found.classes == list(FOODS) and found.task == "classification"
    assert len(found.rows) == 18 and found.left_out == [] and found.notes == []
    assert found.rows[0] == {
        "id": "apple_pie_0",
        "label": "apple_pie",
        "split": "train",
        "image": "images/train/apple_pie/apple_pie_0.jpg",
        "text": '=The "best" apple_pie, ever | Café',
    }
    assert [row["split"] for row in found.rows].count("test") == 6
    assert all((root / row["image"]).is_file() for row in found.rows)


def test_json_lists_with_a_validation_part(tmp_path: Path) -> None:
    root = write_food_lists(tmp_path)
    entries = json.loads((root / "train.json").read_text())
    entries[-1] |= {"text": "as one text"}
    (root / "dev.json").write_text(json.dumps(entries[-1:]))
    (root / "train.json").write_text(json.dumps(entries[:-1]))
    found = read_food101(root)
    splits = [row["split"] for row in found.rows]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (11, 1, 6)
    assert found.rows[0]["text"] == "a recipe of apple_pie"
    assert found.rows[11]["text"] == "as one text"
    assert found.notes == ["warning: val has no sample of apple_pie, sushi"]


def test_titles_with_commas_quotes_lines_and_a_line_of_names(root: Path) -> None:
    table = root / "texts" / "test_titles.csv"
    shutil.copy(root / "images/test/sushi/sushi_100.jpg", root / "images/test/sushi/a,b.jpg")
    text = table.read_text(encoding="utf-8")
    table.write_text("file,title,class\n" + text, encoding="utf-8")
    append(table, '"a,b.jpg","two\nlines, and ""more""",sushi\n')
    assert read_food101(root).rows[-1]["text"] == 'two\nlines, and "more"'
    rows = text.splitlines()
    rows[0] = "apple_pie_100.jpg,no quotes, but commas,apple_pie"
    table.write_text("\n".join(rows), encoding="utf-8")
    (found,) = [r for r in read_food101(root, most_left_out=1).rows if r["id"] == "apple_pie_100"]
    assert found["text"] == "no quotes, but commas"


def test_what_cannot_be_used_is_listed_and_not_fatal_up_to_a_share(root: Path) -> None:
    images = root / "images" / "train"
    (images / "sushi" / "sushi_0.jpg").unlink()
    (images / "sushi" / "sushi_1.jpg").write_bytes(b"")
    shutil.copy(images / "waffles" / "waffles_0.jpg", images / "waffles" / "more.jpg")
    append(root / "texts" / "train_titles.csv", "waffles_1.jpg,again,waffles\n")
    message = refusal(root)
    assert "4 of 20 (20.0 %) samples cannot be used" in message
    assert "expected at most 5 %" in message and "--most_left_out" in message
    found = read_food101(root, most_left_out=0.3)
    assert len(found.rows) == 16
    assert {(row["image"].split("/")[-1], row["reason"]) for row in found.left_out} == {
        ("sushi_0.jpg", "a text but no image"),
        ("sushi_1.jpg", "an empty image file"),
        ("more.jpg", "an image but no text"),
        ("waffles_1.jpg", "an image that is listed twice"),
    }
    assert "1 of 20 (5.0 %) samples are left out: an empty image file" in found.notes


def test_same_names_in_two_parts(root: Path) -> None:
    folder = root / "images" / "test" / "sushi"
    (folder / "sushi_100.jpg").rename(folder / "sushi_0.jpg")
    table = root / "texts" / "test_titles.csv"
    table.write_text(table.read_text().replace("sushi_100", "sushi_0"))
    ids = [row["id"] for row in read_food101(root).rows]
    assert "train-sushi_0" in ids and "test-sushi_0" in ids and "sushi_1" in ids


def test_same_image_in_two_parts(root: Path) -> None:
    assert "no image lies in two parts" in read_food101(root, check_duplicates=True).notes
    images = root / "images"
    shutil.copy(images / "train/sushi/sushi_2.jpg", images / "test/waffles/waffles_101.jpg")
    (note,) = read_food101(root, check_duplicates=True).notes
    assert note == "warning: 1 images lie in two parts: sushi_2 = waffles_101; they are kept"


def test_a_class_in_one_part_only(root: Path) -> None:
    for part, words in (("test", "warning: test has no sample of sushi"), ("train", "")):
        copy = root.parent / part
        shutil.copytree(root, copy)
        shutil.rmtree(copy / "images" / part / "sushi")
        if words:
            assert words in read_food101(copy, most_left_out=0.5).notes
        else:
            message = refusal(copy, most_left_out=0.5)
            assert "no training sample is of these classes: sushi" in message


def test_broken_tables(root: Path) -> None:
    table = root / "texts" / "train_titles.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[5] = "sushi_1.jpg"
    table.write_text("\n".join(lines), encoding="utf-8")
    assert "train_titles.csv has 1 broken rows, in line 6" in refusal(root)
    table.write_bytes("sushi_1.jpg,Café,sushi\n".encode("latin-1"))
    assert "is not in UTF-8 (byte 15)" in refusal(root)
    table.write_bytes(b"<!DOCTYPE html>")
    assert "is a web page (HTML)" in refusal(root)
    table.unlink()
    assert "there is no file" in refusal(root)


@pytest.mark.parametrize("row", [2, 8, 11])
def test_a_quote_that_is_not_closed_swallows_no_rows(root: Path, row: int) -> None:
    table = root / "texts" / "train_titles.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    name, food = lines[row].split(",")[0], lines[row].rsplit(",", 1)[1]
    lines[row] = f'{name},"A quote, never closed,{food}'
    table.write_text("\n".join(lines), encoding="utf-8")
    found = read_food101(root)
    texts = {row["image"].split("/")[-1]: row["text"] for row in found.rows}
    assert texts.pop(name) == "A quote, never closed"
    assert len(found.rows) == 18 and all('"best"' in text for text in texts.values())
    (note,) = found.notes
    assert "1 of 18 (5.6 %) samples have a title whose quote is not closed" in note


def test_a_quote_with_none_behind_it_swallows_no_row_of_a_long_table(root: Path) -> None:
    """More characters than the csv module takes for a cell come after it."""
    table = root / "texts" / "train_titles.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    ends = [(line.split(",")[0], line.rsplit(",", 1)[1]) for line in lines]
    lines = [f"{name},{'great ' * 5000},{food}" for name, food in ends]
    lines[0] = f'{ends[0][0]},"A quote, never closed,{ends[0][1]}'
    table.write_text("\n".join(lines), encoding="utf-8")
    found = read_food101(root)
    assert len(found.rows) == 18 and found.rows[0]["text"] == "A quote, never closed"


def test_rows_that_name_a_text_file_mean_the_image_called_so(root: Path) -> None:
    table = root / "texts" / "train_titles.csv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("sushi_1.jpg", "sushi_1.txt"), encoding="utf-8")
    found = read_food101(root)
    assert "images/train/sushi/sushi_1.jpg" in [row["image"] for row in found.rows]
    (note,) = found.notes
    assert note.startswith("1 of 18 (5.6 %) samples have a table that names a .txt")
    (root / "images/train/sushi/sushi_1.jpg").unlink()
    (left,) = read_food101(root, most_left_out=0.1).left_out
    assert left["image"].endswith("sushi_1.txt") and left["reason"] == "a text but no image"


def test_broken_lists(tmp_path: Path) -> None:
    root = write_food_lists(tmp_path)
    path = root / "train.json"
    good = json.loads(path.read_text())
    for content, words in [
        ("{", "cannot be read as JSON"),
        ('{"a": 1}', "holds dict; expected a list of samples"),
        ('[{"id": 1}]', "train.json, entry 0: found {'id': 1}; expected id, img_path, label"),
        (json.dumps([good[0] | {"img_path": "../../etc/passwd"}]), "leads out of the folder"),
        (json.dumps([good[0] | {"img_path": "/etc/passwd"}]), "leads out of the folder"),
        (json.dumps([*good, good[1] | {"id": 1, "img_path": "x" * 5000}]), "a text but no image"),
        (json.dumps([*good, good[0]]), "1 samples have the same name and part: train-apple_pie_0"),
    ]:
        path.write_text(content)
        assert words in refusal(root)


def test_other_folders(tmp_path: Path, root: Path) -> None:
    assert "holds no UPMC-Food 101; expected images/{train,test}/<class>/" in refusal(tmp_path)
    shutil.rmtree(root / "images" / "test")
    assert "there is no folder" in refusal(root) and "images/test" in refusal(root)
    shutil.rmtree(root / "images" / "train")
    (root / "images" / "train").mkdir()
    (root / "images" / "test").mkdir()
    assert "holds no sample with an image and a text" in refusal(root)
