"""The command ``cggm demo``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ....bundles import path
from .steps import settings_of


class Bundle(StrEnum):
    """Bundles that have a demonstration."""

    BRATS = "brats"
    FOOD101 = "food101"
    IEMOCAP = "iemocap"
    MOSI = "mosi"


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def main(
    ctx: typer.Context,
    bundle: Annotated[Bundle, typer.Option(help="What is demonstrated.")] = Bundle.BRATS,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", help="Where everything goes; default: output/demo/BUNDLE."),
    ] = None,
) -> None:
    """Train a bundle, compare with joint training, and write a page with tables and pictures.

    What an earlier call trained is not repeated. Further options are passed on to the training.
    """
    from . import features, segmentation

    name = bundle.value
    kind = segmentation if bundle is Bundle.BRATS else features
    folder = output_dir or Path("output/demo", name)
    report = kind.demonstrate(Path(path(name)), folder, settings_of(ctx.args))
    print(f"report: {report}")
