"""`cggm pack`: a trained BraTS network as a MONAI bundle that others can use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...bundles import path
from ...data.errors import InputError

if TYPE_CHECKING:
    from ..segmentation.packing.tree import Model

_NO_LICENSE = "none was given; ask those who trained them, and see the terms of the training data."


def main(
    model: Annotated[Path, typer.Argument(help="Output folder of a training, or its weights.")],
    folder: Annotated[Path, typer.Argument(help="Where the bundle goes; its name.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What it was trained on; synthetic cases are known."),
    ] = None,
    weights_license: Annotated[
        str, typer.Option("--weights_license", metavar="TEXT", help="License of the weights.")
    ] = _NO_LICENSE,
    version: Annotated[str, typer.Option(help="Of the bundle.")] = "0.1.0",
    torchscript: Annotated[
        bool, typer.Option("--torchscript", help="models/model.ts, too, compared with the network.")
    ] = False,
) -> None:
    """Pack a trained BraTS network: MONAI's bundle tree, with a card."""
    from ..segmentation.packing.metadata import Release
    from ..segmentation.packing.tree import pack, read_model

    found = read_model(model)
    release = Release(data or training_data(found), weights_license, version)
    pack(found, folder, path("brats"), release, torchscript=torchscript)
    print(f"{found.weights} is packed in {folder}; read its docs/README.md before you pass it on")
    if not found.table:
        print("its accuracy is unknown: cggm evaluate brats --subsets True, then pack it again")


def training_data(model: Model) -> str:
    """Say what a network was trained on where that is known: phantoms of this package.

    Raises:
        InputError: it is not.
    """
    from ...data.brats.embedded import SYNTHETIC
    from ...data.identity import digest
    from ...data.phantom.cases import case_name

    phantoms = {digest(case_name(number)) for number in range(1000)}
    trained_on = model.description.get("trained_on")
    if trained_on and phantoms.issuperset(trained_on):
        return SYNTHETIC
    raise InputError(
        "a card says what its network was trained on, and nothing beside these weights does: pass "
        "--data, such as --data 'BraTS 2021, training part'"
    )
