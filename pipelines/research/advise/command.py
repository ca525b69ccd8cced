"""The command ``cggm advise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ....data.errors import InputError
from ....data.locks import lock_or_refuse
from ...commands.start import make_writable
from ..experiments.machines import LOCAL
from .methods import METHODS

DIVISIONS, FEWEST = 10, 3
MINUTES = {"classification": 15, "regression": 15, "segmentation": 40}


def main(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of a feature set, or of patients with labels (docs/datasets.md).",
        ),
    ],
    minutes: Annotated[
        float | None,
        typer.Option(
            help="No training begins later; the same command goes on. Default: 15; patients 40."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where everything goes; default: output/advise/NAME.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="To compare with joint training, divided by commas.")
    ] = ",".join(METHODS),
    modalities: Annotated[
        str | None, typer.Option(help="Such as text,image or flair,t1ce; default: all.")
    ] = None,
    label_convention: Annotated[
        str | None,
        typer.Option("--label_convention", help="Of patients: brats2021, brats2023, brats2024 …"),
    ] = None,
    divisions: Annotated[
        int, typer.Option(min=FEWEST, help="Of the data, at most; more: narrower intervals.")
    ] = DIVISIONS,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Most that are used; default: 3,000, or 100 patients."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each training; default: 16, more on few samples.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings side by side; 1 does without Ray.")
    ] = 2,
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Ray cluster; local: this machine.")
    ] = LOCAL,
) -> None:
    """Say whether there is imbalance between the modalities, and whether balancing helps."""
    from . import work as at_work
    from .decide import find
    from .load import load
    from .page import write_advice
    from .plan import RATES, epochs_for, variants_for
    from .words import headline, sentences

    if minutes is not None and minutes <= 0:
        raise InputError(f"--minutes is {minutes:g}; expected more than 0")
    options = {
        "most": samples,
        "modalities": tuple(m.strip() for m in modalities.split(",")) if modalities else None,
        "label_convention": label_convention,
    }
    loaded = load(data, **options)
    minutes = minutes or MINUTES[loaded.task]
    variants = variants_for(loaded, [m.strip() for m in methods.split(",") if m.strip()])
    count = epochs or epochs_for(loaded)
    folder = make_writable(output or Path("output/advise", data.resolve().name))
    about = {"data": loaded.digest, "rates": RATES, "epochs": count}
    do = at_work.worker(data, count, **options)
    run = at_work.here(do) if jobs == 1 and ray == LOCAL else at_work.on_ray(do, jobs, ray)
    refusal = f"another advice is at work in {folder}; choose another --output"
    with lock_or_refuse(folder / ".lock", refusal):
        rows = at_work.Rows(folder / at_work.FILE, about)
        left = at_work.work(variants, rows, divisions, run, 60 * minutes)
        if left:
            print(
                f"{minutes:g} minutes are over; at least {len(left):,} trainings are left. "
                "The same command goes on."
            )
        found = find(loaded, variants, rows.rows, divisions)
        paths = write_advice(folder, loaded, found)
    print(headline(found))
    for sentence in sentences(loaded, found):
        print(f"- {sentence}")
    print(*paths, sep="\n")
