"""`cggm segment`: from any folder of patients to masks, volumes and a record of each case."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...data.brats.checks import plural
from ...data.brats.conventions import label_convention_named
from ...data.errors import InputError, problem_report
from ...data.word_lists import WordLists
from ..segmentation.output_folder import CONVERTED
from .convert import show
from .start import make_writable

if TYPE_CHECKING:
    from ..segmentation.batch.cases import Found
    from ..segmentation.batch.run import Outcome

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=WordLists)
def main(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Of patients, NIfTI or DICOM; or a CSV or datalist."),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where all goes.")],
    model: Annotated[
        list[Path],
        typer.Option(
            metavar="MODEL ...",
            help="The --output_dir of a training, or weights; several segment by their mean.",
        ),
    ],
    prepare: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Register, strip the skull, resample; auto: where a case needs it."),
    ] = "auto",
    brain_mask: Annotated[
        str | None,
        typer.Option(
            "--brain_mask",
            metavar="NAME",
            help="To prepare: your own masks, <case>_NAME.nii.gz, of all cases; without it HD-BET.",
        ),
    ] = None,
    accurate: Annotated[
        bool, typer.Option("--accurate", help="To prepare: HD-BET with five networks.")
    ] = False,
    spacing: Annotated[
        float | None,
        typer.Option(
            metavar="MM", min=0.5, max=4, help="To prepare: voxels; by default the training's."
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of the files: auto, folders, or as for cggm check.")
    ] = "auto",
    label_convention: Annotated[
        str | None,
        typer.Option("--label_convention", help="Of the masks; by default that of the layout."),
    ] = None,
    flips: Annotated[
        bool, typer.Option("--flips", help="The mean over flips; four times as long.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A case fails where a check finds an error.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default a GPU where there is one.")
    ] = None,
) -> None:
    """From a folder of patients to masks, volumes and records. Research use only."""
    if label_convention is not None:
        label_convention_named(label_convention)
    try:
        from ..segmentation.batch.case import Settings, Tool, usual_spacing
        from ..segmentation.batch.cases import refuse_within
        from ..segmentation.batch.run import claim_output, segment_cases
        from ..segmentation.report import write_reports
        from ..segmentation.trained import weights_in

        refuse_within(output, source)
        weights = [weights_in(path) for path in model]
        millimeters = usual_spacing(weights) if spacing is None else spacing
        settings = Settings(
            prepare, brain_mask, accurate, millimeters, label_convention, flips, strict
        )
        tool = Tool(weights, settings, device)  # what is wrong with it is said before a long search
        found = _find(source, output, layout)
        if not found.cases:
            raise InputError(problem_report(str(source), list(found.problems.values())))
        _say(f"{plural(len(found.cases), 'case')} in {source}")
        for name, reason in found.problems.items():
            print(f"{name}: FAILED (find): {reason}")
        make_writable(output)
        claim_output(output, source, found.cases)
        outcome = segment_cases(found, output, tool, say=_say)
        write_reports(output, cases=(), say=lambda line: None)
    except KeyboardInterrupt:
        print(f"to go on: {command_line(sys.argv[1:])}", file=sys.stderr, flush=True)
        raise
    _conclude(outcome, output, len(found.cases) + len(found.problems))


def _find(source: Path, output: Path, layout: str) -> Found:
    """The cases of a folder or table; those of DICOM are converted into the output folder."""
    from ..segmentation.batch.cases import (
        find_cases_of_dicom,
        find_cases_to_segment,
        holds_dicom_alone,
    )

    if not holds_dicom_alone(source):
        return find_cases_to_segment(source, layout=layout)
    from ..segmentation.batch.run import claim_output

    make_writable(output)
    claim_output(output, source, None)
    headers = partial(show, what="reading headers", unit="file")
    return find_cases_of_dicom(source, output / CONVERTED, say=_say, show=headers)


def _say(line: str) -> None:
    print(line, flush=True)


def command_line(words: Sequence[str]) -> str:
    """Write a command of `cggm` as a user types it on this system."""
    all_words = ["cggm", *words]
    return shlex.join(all_words) if os.name == "posix" else subprocess.list2cmdline(all_words)


def _conclude(outcome: Outcome, output: Path, total: int) -> None:
    from ..segmentation.output_folder import FAILED, OVERVIEW, VOLUMES

    parts = [f"{len(outcome.done)} segmented"]
    parts += [f"{len(outcome.earlier)} finished before"] if outcome.earlier else []
    parts += [f"{len(outcome.elsewhere)} left to another process"] if outcome.elsewhere else []
    parts += [f"{len(outcome.failed)} failed, see {output / FAILED}"] if outcome.failed else []
    parts += [f"volumes in {output / VOLUMES}"] if (output / VOLUMES).is_file() else []
    print(f"of {plural(total, 'case')} {', '.join(parts)}; research use only")
    print(f"look at {output / OVERVIEW} in a browser")
    if outcome.failed:
        raise typer.Exit(1)
