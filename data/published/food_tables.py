"""The text tables and lists of UPMC-Food 101, each text with its image."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError, some
from ..files import read_json
from ..foreign import check_content
from ..tables import LONGEST_CELL

_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
_CLASS = re.compile(r"[\w -]{1,64}")
# A quote that was not closed swallows the next rows: a file name begins a line of the title.
_SWALLOWED = re.compile(r"\n[^\n,]+\.(jpe?g|png|gif|bmp|webp|txt),", re.IGNORECASE)
_NOT_CLOSED = "a title whose quote is not closed, read to the end of its line"
_TEXT_NAMED = "a table that names a .txt, taken for the image called so"


@dataclass
class Entry:
    """One image, one text, or both.

    Attributes:
        name: of the sample.
        split: "train", "val" or "test".
        label: name of the class.
        image: path relative to the folder; empty if there is none.
        text: the title; empty if there is none.
        fault: why it cannot be used; empty if it can.
        mended: what was read otherwise than it is written; empty if nothing was.
    """

    name: str
    split: str
    label: str
    image: str
    text: str
    fault: str = ""
    mended: str = ""


def read_titles(root: Path) -> list[Entry]:
    """Read the published layout, with the two faults that the published table has.

    Raises:
        InputError: a table is missing or broken.
    """
    entries: list[Entry] = []
    for split in ("train", "test"):
        images = dict(_images(root, split))
        seen: set[tuple[str, str]] = set()
        stems = {(label, PurePosixPath(file).stem): file for label, file in images}
        for file, text, label, mended in _rows(root / "texts" / f"{split}_titles.csv"):
            if file.lower().endswith(".txt"):
                file = stems.get((label, PurePosixPath(file).stem), file)
                mended = mended or _TEXT_NAMED
            key = (label, file)
            fault = _fault(images.get(key), text, twice=key in seen)
            entries.append(_entry(split, label, file, text, fault, mended))
            seen.add(key)
        entries += [
            _entry(split, label, file, "", "an image but no text")
            for label, file in images
            if (label, file) not in seen
        ]
    return entries


def read_lists(root: Path) -> list[Entry]:
    """Read the layout of JSON lists; a list called dev is the validation part.

    Raises:
        InputError: a list cannot be read, or a path in it leads out of the folder.
    """
    entries: list[Entry] = []
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        path = root / f"{name}.json"
        if path.is_file():
            entries += [_listed(item, split, path, row) for row, item in enumerate(_json(path))]
    return entries


def _entry(split: str, label: str, file: str, text: str, fault: str, mended: str = "") -> Entry:
    image = f"images/{split}/{label}/{file}"
    return Entry(PurePosixPath(file).stem, split, label, image, text, fault, mended)


def _images(root: Path, split: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Size of each image, by class and file name."""
    folder = root / "images" / split
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; expected a folder of images per class in it"
        )
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(inner.iterdir()):
            if path.is_file() and path.suffix.lower() in _ENDINGS and path.name[0] != ".":
                yield (inner.name, path.name), path.stat().st_size


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size if file.is_file() else None
    except OSError:  # a name that is too long
        return None


def _fault(size: int | None, text: str, *, twice: bool = False) -> str:
    if twice:
        return "an image that is listed twice"
    if size is None:
        return "a text but no image"
    if size == 0:
        return "an empty image file"
    return "" if text.strip() else "an image but no text"


def _rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """File, title and class of each row of a table without column names, and what was mended."""
    check_content(path, "a table of file, title and class")
    csv.field_size_limit(LONGEST_CELL)  # an open quote swallows all rows to the next
    broken: list[str] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for cells, line, mended in _records(deque(file)):
                if _is_header(cells, line):
                    continue
                if _is_broken(cells):
                    broken.append(str(line))
                    continue
                # A comma in a title without quotes makes it several cells.
                title = ",".join(cells[1:-1]).strip()
                yield cells[0].strip(), title, cells[-1].strip(), mended
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not in UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); copy it again") from error
    if broken:
        raise InputError(
            f"{path} has {len(broken):,} broken rows, in line {some(broken)}; expected file, title "
            'and class, with " around titles with commas and "" for a " in them'
        )


def _records(lines: deque[str]) -> Iterator[tuple[list[str], int, str]]:
    """Cells of each row that has any, the line it begins in, and what was mended."""
    line, taken = 1, list[str]()

    def take() -> Iterator[str]:
        while lines:
            taken.append(lines.popleft())
            yield taken[-1]

    while lines:
        taken.clear()
        cells, mended = next(csv.reader(take())), ""
        if cells and _is_broken(cells):
            alone = next(csv.reader(taken[:1], quoting=csv.QUOTE_NONE))
            if not _is_broken(alone):
                lines.extendleft(reversed(taken[1:]))
                del taken[1:]
                cells, mended = [alone[0], alone[1].removeprefix('"'), *alone[2:]], _NOT_CLOSED
        if cells:
            yield cells, line, mended
        line += len(taken)


def _is_header(cells: list[str], line: int) -> bool:
    return line == 1 and not cells[0].strip().lower().endswith(_ENDINGS)


def _is_broken(cells: list[str]) -> bool:
    named = cells[0].strip().lower().endswith((*_ENDINGS, ".txt")) and _CLASS.fullmatch(
        cells[-1].strip()
    )
    return len(cells) < 3 or not named or any(map(_SWALLOWED.search, cells[1:-1]))


def _json(path: Path) -> list[Any]:
    check_content(path, "a list in JSON")
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(content, list):
        raise InputError(f"{path} holds {type(content).__name__}; expected a list of samples")
    return content


def _listed(item: Any, split: str, path: Path, row: int) -> Entry:
    wanted = ("id", "img_path", "label")
    if not isinstance(item, dict) or not all(isinstance(item.get(k), (str, int)) for k in wanted):
        raise InputError(
            f"{path}, entry {row}: found {str(item)[:80]}; expected id, img_path, label and text "
            "or text_tokens"
        )
    tokens = item.get("text_tokens", "")
    tokens = " ".join(map(str, tokens)) if isinstance(tokens, list) else str(tokens or "")
    text = str(item.get("text") or tokens)
    inside = PurePosixPath(str(item["img_path"]).replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts:
        raise InputError(
            f"{path}, entry {row}: the image {inside} leads out of the folder; expected a path "
            "below it"
        )
    fault = _fault(_size(path.parent / inside), text)
    return Entry(str(item["id"]), split, str(item["label"]), str(inside), text, fault)
