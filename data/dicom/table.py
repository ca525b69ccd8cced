"""`series.csv`: a row for each series, which the user confirms or edits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, problem_report
from ..files import write_csv
from ..tables import check_unique, read_rows
from .series import USES, Series, without_names

TABLE = "series.csv"
_ASKED = ("case", "series", "sequence", "use")
_CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def write_table(path: Path, series: Sequence[Series]) -> None:
    """Write the table of all series, without what tells a patient."""
    ordered = sorted(series, key=lambda one: (one.case, _natural(one.header.number), one.name))
    write_csv(path, [_row(one) for one in ordered])


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """Read `case`, `sequence` and `use` of each series, by its name.

    Raises:
        InputError: it is no such table, or a cell holds something else than it may.
    """
    rows = read_rows(path, _ASKED, remedy="take the table that cggm dicom convert wrote")
    check_unique([row["series"] for row in rows], path, "keep one row for each")
    problems = []
    for row in rows:
        row.update({key: row[key].strip() for key in _ASKED})
        row.update({key: row[key].lower() for key in ("sequence", "use")})
        where = f"{path}, series {row['series']}"
        if row["use"] not in USES:
            problems.append(f"{where}: use is {row['use']!r}; expected {', '.join(USES)}")
        if not _CASE.fullmatch(row["case"]):
            problems.append(
                f"{where}: case is {row['case']!r}; expected letters A-Z, digits, dots, dashes or "
                "underscores"
            )
    if problems:
        raise InputError(problem_report(str(path), problems))
    return {row["series"]: row for row in rows}


def apply_table(series: Iterable[Series], table: dict[str, dict[str, str]]) -> None:
    """Let the rows that a user has changed decide `sequence` and `use`."""
    for one in series:
        row = table.get(one.name)
        if row is None or f"{row['sequence'] or 'none'} {row['use']}" == row.get("proposed"):
            continue
        one.sequence, one.use = row["sequence"], row["use"]
        one.reason = f"by the table; proposed: {one.proposed}"


def _row(one: Series) -> dict[str, Any]:
    header, stack, frame = one.header, one.stack, one.frames[0]
    texts = {
        "description": header.description,
        "protocol": header.protocol,
        "contrast": header.contrast,
    }
    return {
        "case": one.case,
        "day": one.day,
        "series": one.name,
        "number": header.number,
        "sequence": one.sequence,
        "use": one.use,
        "proposed": one.proposed,
        "reason": without_names(one.reason, header),
        **{key: without_names(text, header) for key, text in texts.items()},
        "modality": header.modality,
        "slices": len(one.frames),
        "size": f"{frame.size[1]} x {frame.size[0]}",
        "plane": stack.plane if stack else "",
        "voxel_mm": " ".join(f"{side:g}" for side in stack.voxel_mm) if stack else "",
        "thickness_mm": _number(header.thickness),
        "dimension": header.dimension,
        "TR_ms": _number(header.repetition_time),
        "TE_ms": _number(frame.echo_time),
        "TI_ms": _number(frame.inversion_time),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _natural(number: str) -> tuple[int, str]:
    return (int(number), "") if number.isdecimal() else (10**9, number)
