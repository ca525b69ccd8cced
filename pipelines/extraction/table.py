"""The samples that features are extracted from: rows of a table, or files of a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ...data.errors import InputError
from ...data.files import digest_of
from ...data.tables import check_unique, read_rows

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


def read_table(
    table: str | Path, *, kind: str, column: str | None = None, id_column: str = "id"
) -> list[Sample]:
    """List the samples of a table.

    Args:
        table: as for :func:`.read_rows`.
        kind: "text", whose column holds texts; otherwise paths, relative to the table's folder.
        column: where they stand; None is the column called like the kind.
        id_column: the column of the unique ids.

    Raises:
        InputError: the table cannot be used; an id is empty or comes twice.
    """
    path = Path(table)
    column = column or kind
    remedy = "name the right one with --column, or with --id that of the ids"
    rows = read_rows(path, (id_column, column), remedy=remedy)
    if not rows:
        raise InputError(f"the table {path} has no rows below its column names")
    names = [row[id_column] for row in rows]
    if "" in names:
        raise InputError(f"{path}: row {names.index('') + 1} has no {id_column}")
    check_unique(names, path, f"give each row its own {id_column}")
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
    check_unique([s.name for s in samples], root, "keep one file of each name")
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


def _endings(kind: str) -> set[str]:
    if kind == "image":
        from .pictures import image_endings

        return image_endings()
    return set(_SOUNDS + _CLIPS) if kind == "audio" else set(_CLIPS)


def _content(sample: Sample) -> int | str:
    if isinstance(sample.source, str):
        return len(sample.source)  # the text itself is what is shown
    try:
        return digest_of(sample.source) if sample.source.is_file() else "none"
    except OSError:
        return "none"
