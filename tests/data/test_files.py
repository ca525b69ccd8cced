"""Files and folders that are there whole or not at all, also after a kill or with a rival."""

import csv
import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.data.files import digest_of, whole_file, whole_folder, write_csv, write_text

from ..children import in_a_child, left_after

posix = pytest.mark.skipif(os.name != "posix", reason="forks")


def fill(folder: Path, text: str, replace: Callable[[Path], bool] | None = None) -> None:
    with whole_folder(folder, replace=replace) as place:
        (place / "deep").mkdir()
        (place / "deep" / "text").write_text(text)


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_ids_are_written_unchanged(tmp_path: Path) -> None:
    ids = ["-3YZa$1", "=1+1", "+49", "@home", "a,b", 'say "a"', "'quoted'", " line\nbreak ", "a\rb"]
    write_csv(tmp_path / "table.csv", [{"id": name, "value": 1.5} for name in ids])
    with open(tmp_path / "table.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids


def test_a_table_has_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"a": 1, "b": 2}, {"c": 3}], columns=("c", "a"))
    assert (tmp_path / "t.csv").read_text() == "c,a\n,1\n3,\n"


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "file", "old")
    with pytest.raises(KeyError), whole_file(tmp_path / "new" / "file") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert contents(tmp_path) == {"new/file": "old"}


def test_what_the_system_refuses_is_a_sentence(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a file, not a folder")
    for write in (write_text, fill):
        with pytest.raises(InputError, match=r"file/below cannot be written \(.*\): choose anoth"):
            write(tmp_path / "file" / "below", "x")
    with pytest.raises(InputError, match=r"file cannot be written \(.*\): choose another output"):
        fill(tmp_path / "file", "x")
    assert contents(tmp_path) == {"file": "a file, not a folder"}


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError), whole_folder(tmp_path / "folder") as place:
        (place / "text").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_nothing_or_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "above/new"):
        fill(tmp_path / name, "x")
    assert contents(tmp_path) == {"empty/deep/text": "x", "above/new/deep/text": "x"}


def test_content_is_kept_or_replaced_as_asked(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder, "first")
    with pytest.raises(InputError, match="folder is not empty; choose another"):
        fill(folder, "second")
    fill(folder, "second", replace=lambda there: contents(there) != {"deep/text": "first"})
    assert contents(folder) == {"deep/text": "first"}
    fill(folder, "second", replace=lambda there: True)
    assert contents(folder) == {"deep/text": "second"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@posix
def test_rivals_make_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"

    def work() -> None:
        for _ in range(20):
            fill(folder, "same", replace=lambda there: True)

    children = [in_a_child(work) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert contents(tmp_path) == {"folder/deep/text": "same"}


@posix
def test_what_killed_processes_left_is_removed_by_the_next(tmp_path: Path) -> None:
    def hang() -> None:
        with whole_file(tmp_path / "file") as file, whole_folder(tmp_path / "folder") as folder:
            file.write_text("half")
            (folder / "text").write_text("half")
            (tmp_path / "begun").touch()
            time.sleep(600)

    child = in_a_child(hang)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    write_text(tmp_path / "file", "whole")
    assert len(list(tmp_path.glob(".*.tmp"))) == 2, "those of a process that runs are kept"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kept = [f".file.0badcafe.0.{child}.tmp", f".other.{child}.tmp", ".file.thesis.tmp"]
    for name in [*kept, f".file.{child}.tmp"]:
        (tmp_path / name).write_text("of another host, another file, no process, or older form")
    write_text(tmp_path / "file", "again")
    fill(tmp_path / "folder", "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "begun", "file", "folder"])


@posix
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc")
def test_an_ended_process_that_nobody_waited_for_writes_no_more(tmp_path: Path) -> None:
    child = in_a_child(lambda: None)
    assert not left_after(60, [child])
    (tmp_path / f".file.{child}.tmp").touch()
    write_text(tmp_path / "file", "whole")
    assert os.listdir(tmp_path) == ["file"]
    os.waitpid(child, 0)


def test_digest_of_files_is_that_of_their_contents(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(b"more")
    assert digest_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    both = hashlib.sha256(content + b"more").hexdigest()
    assert digest_of(tmp_path / "a", tmp_path / "b") == both
