"""Which runs are compared, and where do the tables go? ``cggm tables -h``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...commands.failures import report_plainly
from .write import write_tables


def main(words: Sequence[str] | None = None) -> None:
    """Read the command, write the tables, and print where they are."""
    report_plainly()
    parser = argparse.ArgumentParser(
        prog="cggm tables",
        description="Compare the finished runs of `cggm experiments`.",
    )
    parser.add_argument("folder", nargs="?", default="output/experiments", type=Path)
    parser.add_argument("--output", type=Path, help="default: FOLDER/tables")
    known = parser.parse_args(words)
    for path in write_tables(known.folder, known.output or known.folder / "tables"):
        print(path)


if __name__ == "__main__":
    main()
