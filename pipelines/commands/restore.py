"""`cggm restore`: masks of prepared cases, back on the grids of the original images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ...data.brats.cases import SEQUENCES
from ...data.brats.checks import plural
from ...data.errors import InputError, look_up
from ...data.word_lists import WordLists

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=WordLists)
def main(
    masks: Annotated[Path, typer.Argument(help="A folder of <case>.nii.gz, as of cggm infer.")],
    prepared: Annotated[Path, typer.Argument(help="The folder that cggm prepare wrote.")],
    output: Annotated[Path, typer.Argument(help="Where the masks go, a folder for each case.")],
    sequences: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME ...", help="On whose grids; by default all of a case."),
    ] = None,
) -> None:
    """Bring masks back to the grids of the original images."""
    from ..segmentation.preparation.batch import finished_records
    from ..segmentation.preparation.restoration import find_mask, restore_mask

    for name in sequences or []:
        look_up(name, dict.fromkeys(SEQUENCES), "sequence")
    records = list(finished_records(prepared)) if prepared.is_dir() else []
    if not records:
        raise InputError(f"{prepared} holds no prepared case; expected a folder of cggm prepare")
    failures = []
    for record in tqdm(records, unit="case", disable=None):
        name = record["case"]
        try:
            mask = find_mask(masks, name)
            restore_mask(mask, prepared / name, output / name, sequences)
        except InputError as error:
            failures.append(str(error))
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    total = plural(len(records), "case")
    print(f"masks of {len(records) - len(failures)} of {total} in {output}")
    if failures:
        raise typer.Exit(1)
