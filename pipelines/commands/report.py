"""`cggm report`: pages of segmented cases, one for the batch and one per case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...data.brats.checks import plural
from ...data.errors import InputError, nearest
from ..segmentation.output_folder import OVERVIEW, case_folders


def main(
    output: Annotated[Path, typer.Argument(help="The output folder of cggm segment.")],
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only the page of this case; may come several times."),
    ] = None,
) -> None:
    """Write pages of segmented cases: an overview, and one per case, to open from disk."""
    from ..segmentation.report import write_reports

    names = [folder.name for folder in case_folders(output)]
    for name in case or ():
        if name not in names:
            raise InputError(f"no case in {output} is called {name!r}{nearest(name, names)}")
    outcome = write_reports(output, case)
    print(f"{plural(len(outcome.written), 'page')} written; open {output / OVERVIEW}")
    if outcome.failed:
        raise typer.Exit(1)
