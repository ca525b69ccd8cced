"""The command ``cggm stand-ins``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .catalogue import CATALOGUE


def main(
    name: Annotated[str, typer.Argument(help=f"{', '.join(CATALOGUE)}, or all of them: all")],
    output: Annotated[Path, typer.Option("--output", help="folder for the feature sets")] = Path(
        "output/stand_ins"
    ),
    cache_dir: Annotated[
        Path | None, typer.Option("--cache_dir", help="folder for packages and encoders")
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option("--modalities", help="which to make, such as image,text,nutrients"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace what was made otherwise")
    ] = False,
) -> None:
    """Fetch real data sets by the name of their package and extract features."""
    import transformers

    from ....data.features.feature_set import open_feature_set
    from .prepare import prepare

    # Each model would announce what it lacks on purpose, a decoder, and count its tensors.
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    chosen = modalities.split(",") if modalities else None
    for each in CATALOGUE if name == "all" else [name]:
        began = time.monotonic()
        folder = prepare(each, output, cache_dir=cache_dir, modalities=chosen, overwrite=overwrite)
        feature_set = open_feature_set(folder)
        seconds = time.monotonic() - began
        typer.echo(f"{folder}: {feature_set.name}, {feature_set.describe()}, {seconds:.0f} s")
