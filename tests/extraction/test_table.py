"""Tables and folders as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.extraction import list_folder, read_table
from cggm.pipelines.extraction.table import checksum

from .conftest import picture, write_table


def test_texts_with_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    texts = ["one, two", 'she said "no"', "two\nlines", "", "  Käse 蛙 🐸 "]
    table = write_table(tmp_path / "t.csv", ((f"{i}", text) for i, text in enumerate(texts)))
    assert [s.source for s in read_table(table, kind="text")] == texts
    with_mark = tmp_path / "excel.csv"
    with_mark.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert [s.name for s in read_table(with_mark, kind="text")] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_spreadsheets_where_commas_are_decimal(tmp_path: Path, separator: str) -> None:
    text = f'"id"{separator}text\r\n1{separator}great, really\r\n2{separator}"a\nb"\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8-sig"))
    samples = read_table(tmp_path / "t.csv", kind="text")
    assert [(s.name, s.source) for s in samples] == [("1", "great, really"), ("2", "a\nb")]


def test_the_unicode_text_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("id\ttext\r\n1\tKäse, 蛙\r\n".encode("utf-16"))
    assert [(s.name, s.source) for s in read_table(tmp_path / "t.txt", kind="text")] == [
        ("1", "Käse, 蛙")
    ]


def test_a_text_as_long_as_a_web_page(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1," + "great " * 40_000 + "\n")
    (sample,) = read_table(tmp_path / "t.csv", kind="text")
    assert len(sample.source) == 240_000


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in" / "t.csv", [("x", "photos/a.png")], "name,file")
    (sample,) = read_table(table, kind="image", column="file", id_column="name")
    assert sample.source == tmp_path / "in" / "photos" / "a.png"
    assert (sample.name, sample.shown) == ("x", "photos/a.png")


def test_ids_of_a_folder(tmp_path: Path) -> None:
    for name in ("b/two.png", "b/One.JPG", "a.v1.png", ".hidden.png"):
        picture(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    samples = list_folder(tmp_path / "photos", kind="image")
    assert [s.name for s in samples] == ["a.v1", "b/One", "b/two"]
    with pytest.raises(InputError, match="holds no video files"):
        list_folder(tmp_path / "photos", kind="video")
    picture(tmp_path / "photos" / "b" / "two.bmp")
    with pytest.raises(InputError, match=r"1 names come more than once \(b/two\)"):
        list_folder(tmp_path / "photos", kind="image")
    with pytest.raises(InputError, match="there is no folder"):
        list_folder(tmp_path / "nowhere", kind="image")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"id,text\n", "has no rows"),
        (b"id,words\n1,a\n", "no column 'text'; it has 'id', 'words'"),
        (b"text\na\n", "no column 'id'"),
        (b"id,text,text\n1,a,b\n", "more than once"),
        (b"id,text\n1,a\n2,b\n1,c\n", r"1 names come more than once \(1\)"),
        (b"id,text\n1,a\n,b\n", "row 2 has no id"),
        (b'id,text\n1,a\n2,"b" c\n', "quoting is broken in the row that begins in line 3"),
        (b'id,text\n1,a\n2,"b\n3,c\n', "quoting is broken in the row that begins in line 3"),
        (b"id,text\n1,a,b\n", "line 2: 3 cells, but there are 2 columns"),
        (b"id,text\n1,caf\xe9\n", "is not in UTF-8 .*spreadsheets: CSV UTF-8"),
        ("id,text\n1,a\n".encode("utf-16")[:-1], "is not in UTF-8"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(tmp_path / "t.csv", kind="text")
    assert "\n" not in str(caught.value)


def test_a_table_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_table(tmp_path / "t.csv", kind="text")


def test_the_checksum_sees_texts_ids_order_and_files(tmp_path: Path) -> None:
    found = set()
    for rows in ([("1", "a"), ("2", "b")], [("2", "b"), ("1", "a")], [("1", "a"), ("2", "c")]):
        found.add(checksum(read_table(write_table(tmp_path / "t.csv", rows), kind="text")))
    assert len(found) == 3
    table = write_table(tmp_path / "p.csv", [("1", "a.png")])
    samples = read_table(table, kind="image", column="text")
    before = checksum(samples)
    picture(tmp_path / "a.png")
    assert checksum(samples) != before
