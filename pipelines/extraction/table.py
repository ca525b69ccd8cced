"""Which samples shall features be extracted from: the rows of a table or the files of a folder?"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ...data.errors import InputError, some
from ...data.files import write_text
from .hub import sha256
from .media import image_endings

_SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".m4a")
_CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")


@dataclass(frozen=True)
class Sample:
    """What features are extracted from.

    Args:
        name: the id.
        source: the text, or the path of the file.
        shown: what stands in the table, which does not change when a folder moves.
    """

    name: str
    source: str | Path
    shown: str


def read_rows(table: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a table of comma-separated values in UTF-8, strictly.

    Args:
        table: the file, with a line of column names.
        columns: names that must be among them.

    Raises:
        InputError: no such file, another encoding, broken quoting, a column is missing or comes
            twice, a row is longer or shorter than the first.
    """
    path = Path(table)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _rows(file, path, columns)
    except OSError as error:
        raise InputError(f"the table {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"the table {path} is not in UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table, whole or not at all, with ids as they are.

    `data.files.write_csv` marks texts that begin with "-", as ids of videos do.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    write_text(path, text.getvalue())


def read_table(
    table: str | Path, *, kind: str, column: str | None = None, id_column: str = "id"
) -> list[Sample]:
    """List the samples of a table.

    Args:
        table: as for :func:`read_rows`.
        kind: "text", whose column holds texts; otherwise paths, relative to the table's folder.
        column: where they stand; None is the column called like the kind.
        id_column: the column of the unique ids.

    Raises:
        InputError: the table cannot be used; an id is empty or comes twice.
    """
    path = Path(table)
    column = column or kind
    rows = read_rows(path, (id_column, column))
    if not rows:
        raise InputError(f"the table {path} has no rows below its column names")
    names = [row[id_column] for row in rows]
    if "" in names:
        raise InputError(f"{path}: row {names.index('') + 1} has no {id_column}")
    _check_unique(names, path, f"give each row its own {id_column}")
    if kind == "text":
        return [Sample(row[id_column], row[column], row[column]) for row in rows]
    return [Sample(row[id_column], path.parent / row[column], row[column]) for row in rows]


def list_folder(folder: str | Path, *, kind: str) -> list[Sample]:
    """List the images, recordings or clips below a folder; ids are paths without their ending.

    Raises:
        InputError: there are none, or two differ by nothing but their ending.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; pass the one with the {kind} files")
    endings = _endings(kind)
    paths = sorted(
        path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix.lower() in endings and path.is_file() and not path.name.startswith(".")
    )
    if not paths:
        raise InputError(f"{root} holds no {kind} files ({', '.join(sorted(endings)[:12])}, …)")
    samples = [
        Sample(path.with_suffix("").as_posix(), root / path, path.as_posix()) for path in paths
    ]
    _check_unique([s.name for s in samples], root, "keep one file of each name")
    return samples


def checksum(samples: Sequence[Sample], readers: int = 4) -> str:
    """Give the SHA-256 of the ids, the texts or relative paths, and the content of the files.

    Content, since a file that was replaced can have the size of the old one, and a folder that was
    copied has other times. Reading is little beside decoding and encoding.

    Args:
        samples: in their order.
        readers: threads.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(readers) as pool:
        contents = pool.map(_content, samples)
        # On most data it is done before a bar would show.
        bar = tqdm(
            contents, "looking for changes", len(samples), disable=None, delay=5, leave=False
        )
        for sample, content in zip(samples, bar, strict=True):
            line = [sample.name, sample.shown, content]
            digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def _rows(file: Iterable[str], path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    reader = csv.reader(file, strict=True)
    rows: list[dict[str, str]] = []
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = [name.strip() for name in cells]
                _check_header(header, path, columns)
            elif cells:
                rows.append(_row(cells, header, f"{path}, line {line}"))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: the quoting is broken in the row that begins in line {line} ({error}); put "
            'double quotes around texts with commas or line ends, and write " within them as ""'
        ) from error
    if not header:
        raise InputError(f"the table {path} is empty; its first line names the columns")
    return rows


def _row(cells: list[str], header: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        raise InputError(
            f"{where}: {len(cells)} cells, but there are {len(header)} columns; put double quotes "
            "around texts with commas"
        )
    return dict(zip(header, cells, strict=True))


def _check_header(header: list[str], path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(map(repr, header))}: name the "
            "right one with --column, or with --id that of the ids"
        )
    _check_unique(header, path, "rename one of the columns")


def _check_unique(names: Sequence[str], where: Path, remedy: str) -> None:
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise InputError(
            f"{where}: {len(doubled)} names come more than once ({some(doubled)}); {remedy}"
        )


def _endings(kind: str) -> set[str]:
    if kind == "image":
        return image_endings()
    return set(_SOUNDS + _CLIPS) if kind == "audio" else set(_CLIPS)


def _content(sample: Sample) -> int | str:
    if isinstance(sample.source, str):
        return len(sample.source)  # the text itself is what is shown
    try:
        return sha256([sample.source]) if sample.source.is_file() else "none"
    except OSError:
        return "none"
