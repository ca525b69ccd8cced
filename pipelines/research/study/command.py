"""The command ``cggm study``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ....data.errors import InputError
from ....data.locks import lock_or_refuse
from .mechanism import FILE as MECHANISM
from .mechanism import write_mechanism
from .report import write_report
from .sets import DIALS, NAMES, REAL, load
from .variants import OTHERS, compared
from .work import FILE, jobs_left, read, search_left, work

DATA = (
    f"Names, divided by commas. {', '.join(REAL)}: real, made by `cggm stand-ins all`; "
    f"{', '.join(DIALS)}: generated, with 0, 50 and 100 % of what one modality tells hidden."
)
VARIANTS = (
    f"Names, divided by ';'; default: all. They are {'; '.join(v.name for v in compared())}; other "
    f"methods: {'; '.join(OTHERS)}; and of each modality M: M alone; M x 3; M x 1/3 (its rate)."
)


class Part(str, Enum):
    """What is done."""

    RUN = "run"
    MECHANISM = "mechanism"
    REPORT = "report"


def main(
    part: Annotated[
        Part,
        typer.Argument(
            metavar="COMMAND",
            help="run: train what is missing, then report; mechanism: what a factor does to an "
            "update; report: tables and a picture of what was trained.",
        ),
    ],
    data: Annotated[str, typer.Option(help=DATA)] = ",".join(NAMES),
    variants: Annotated[str | None, typer.Option(help=VARIANTS)] = None,
    seeds: Annotated[int, typer.Option(help="How many.")] = 5,
    features: Annotated[str, typer.Option(help="Folder of the real data.")] = "output/stand_ins",
    output: Annotated[Path, typer.Option(help="Where results go.")] = Path("output/study"),
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; default: OUTPUT/report.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trainings side by side.")] = 2,
) -> None:
    """Study whether CGGM helps, when, and how; docs/study.md has the answers."""
    if part is Part.MECHANISM:
        print(write_mechanism(output / MECHANISM))
        return
    if part is Part.RUN:
        names = [name.strip() for name in variants.split(";")] if variants else None
        _run(output / FILE, data.split(","), features, seeds, jobs, names)
    for path in write_report(output, report or output / "report"):
        print(path)


def _run(
    path: Path,
    data: Sequence[str],
    features: str,
    seeds: int,
    jobs: int,
    variants: Sequence[str] | None,
) -> None:
    if seeds < 3 or jobs < 1:
        raise InputError(f"--seeds is {seeds} and --jobs {jobs}; expected at least 3 and 1")
    for name in data:  # refuses what is not there before anything is trained
        load(name, features)
    refusal = f"another study is at work in {path.parent}; choose --output"
    with lock_or_refuse(path.with_suffix(".lock"), refusal):
        work(search_left(read(path), data, features), path, jobs)
        left = jobs_left(read(path), data, features, range(seeds), variants)
        work(left, path, jobs)
