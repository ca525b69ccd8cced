"""The command ``cggm tables``: finished runs as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    folder: Annotated[Path, typer.Argument(help="Output folder of `cggm experiments`.")] = Path(
        "output/experiments"
    ),
    output: Annotated[
        Path | None, typer.Option(help="Where the tables go; FOLDER/tables when not given.")
    ] = None,
) -> None:
    """Compare the finished runs of `cggm experiments`."""
    from .write import write_tables

    for path in write_tables(folder, output or folder / "tables"):
        print(path)
