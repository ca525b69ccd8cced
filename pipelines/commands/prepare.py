"""`cggm prepare`: a hospital's images, registered, skull-stripped and on voxels of 1 mm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...data.brats.checks import plural
from .start import make_writable


def main(
    source: Annotated[Path, typer.Argument(help="A folder of cases, NIfTI, with skull.")],
    output: Annotated[Path, typer.Argument(help="Where the prepared cases go.")],
    brain_mask: Annotated[
        str | None,
        typer.Option(
            "--brain_mask",
            metavar="NAME",
            help="Of your own masks beside the images, <case>_NAME.nii.gz; else HD-BET.",
        ),
    ] = None,
    accurate: Annotated[
        bool, typer.Option("--accurate", help="HD-BET with five networks; five times as long.")
    ] = False,
    spacing: Annotated[
        float, typer.Option(metavar="MM", min=0.5, max=4, help="Voxels of the result.")
    ] = 1.0,
    layout: Annotated[
        str, typer.Option(help="Of the files: auto, folders, or as for cggm check.")
    ] = "auto",
) -> None:
    """Prepare cases for segmentation: register, strip the skull, resample to 1 mm."""
    from ..segmentation.one_by_one import FAILED
    from ..segmentation.preparation.batch import TABLE, prepare_cases
    from ..segmentation.preparation.case import Settings
    from ..segmentation.preparation.case_list import find_cases_to_prepare

    cases, problems = find_cases_to_prepare(source, layout=layout)
    make_writable(output)
    settings = Settings(brain_mask=brain_mask, accurate=accurate, spacing=spacing)
    outcome = prepare_cases(cases, output, settings, failed=problems)
    for name, reason in problems.items():
        print(f"{name}: FAILED: {reason}")
    warned = sum(bool(record["warnings"]) for record in outcome.done.values())
    parts = [f"{len(outcome.done)} prepared ({warned} with warnings)"]
    parts += [f"{len(outcome.earlier)} finished before"] if outcome.earlier else []
    parts += [f"{len(outcome.elsewhere)} left to another process"] if outcome.elsewhere else []
    parts += [f"{len(outcome.failed)} failed, see {output / FAILED}"] if outcome.failed else []
    total = plural(len(cases) + len(problems), "case")
    print(f"of {total} {', '.join(parts)}; figures in {output / TABLE}")
    if outcome.failed:
        raise typer.Exit(1)
