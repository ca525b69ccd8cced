"""Which samples have no features, and why?"""

from __future__ import annotations

from pathlib import Path

from .table import read_rows, write_rows

# Ids and reasons.
LeftOut = list[tuple[str, str]]


def list_of_left_out(output: Path) -> Path:
    """Give the table that lists the samples without features: ``<stem>.left_out.csv``."""
    return output.with_name(f"{output.stem}.left_out.csv")


def write_left_out(output: Path, left_out: LeftOut) -> None:
    """Write the table, or remove that of an earlier run when nothing was left out."""
    path = list_of_left_out(output)
    if not left_out:
        path.unlink(missing_ok=True)
        return
    rows = [{"id": name, "reason": reason} for name, reason in left_out]
    write_rows(path, ("id", "reason"), rows)


def read_left_out(output: Path) -> LeftOut:
    """Read the table; no table means that nothing was left out."""
    path = list_of_left_out(output)
    if not path.is_file():
        return []
    return [(row["id"], row["reason"]) for row in read_rows(path, ("id", "reason"))]
