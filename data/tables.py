"""Tables of comma-separated values in UTF-8, read strictly.

Semicolons and tabs separate too: where commas are decimal, spreadsheets save so. So is UTF-16 read,
what they call Unicode text; its first two bytes tell.
"""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from .errors import InputError, some

LONGEST_CELL = 2**27  # characters of a cell: whole web pages are texts too


def read_rows(
    table: str | Path, columns: Sequence[str], *, remedy: str = "name the columns so"
) -> list[dict[str, str]]:
    """Read a table whose first line names the columns; values stay texts, as they are.

    Args:
        table: the file.
        columns: names that must be among them.
        remedy: what to do when one is missing, for the message.

    Raises:
        InputError: no such file, another encoding, broken quoting, a column is missing or comes
            twice, a row is longer or shorter than the first.
    """
    path = Path(table)
    try:
        with open(path, encoding=_encoding(path), newline="") as file:
            return _rows(file, path, columns, remedy)
    except OSError as error:
        raise InputError(f"the table {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"the table {path} is not in UTF-8 (byte {error.start}); save it as CSV in UTF-8 "
            "(spreadsheets: CSV UTF-8)"
        ) from error


def check_unique(names: Sequence[str], where: Path, remedy: str) -> None:
    """Refuse names that come more than once.

    Raises:
        InputError: lists them.
    """
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise InputError(
            f"{where}: {len(doubled):,} names come more than once ({some(doubled)}); {remedy}"
        )


def _encoding(path: Path) -> str:
    with open(path, "rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if marked else "utf-8-sig"


def _rows(file: TextIO, path: Path, columns: Sequence[str], remedy: str) -> list[dict[str, str]]:
    csv.field_size_limit(LONGEST_CELL)
    separator = _separator(file.readline(), columns)
    file.seek(0)
    reader = csv.reader(file, strict=True, delimiter=separator)
    rows: list[dict[str, str]] = []
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = [name.strip() for name in cells]
                _check_header(header, path, columns, remedy)
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


def _separator(first: str, columns: Sequence[str]) -> str:
    """What separates the names of the columns; a comma unless only another one gives them."""
    for separator in ",;\t":
        names = [name.strip().strip('"') for name in first.split(separator)]
        if set(columns) <= set(names):
            return separator
    return ","


def _row(cells: list[str], header: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        raise InputError(
            f"{where}: {len(cells)} cells, but there are {len(header)} columns; put double quotes "
            "around texts with commas"
        )
    return dict(zip(header, cells, strict=True))


def _check_header(header: list[str], path: Path, columns: Sequence[str], remedy: str) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(map(repr, header))}: {remedy}"
        )
    check_unique(header, path, "rename one of the columns")
