"""The card of a packed bundle: what it is, what it is worth, what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ...balancing.modality_dropout import subset_warning
from ..reliability import measured_regions, region_figures

if TYPE_CHECKING:
    from .metadata import Release
    from .tree import Model

TEMPLATE = Path(__file__).with_name("card.template.md")


def card(name: str, model: Model, meta: Mapping[str, Any], release: Release) -> str:
    """Write the card of a bundle.

    Args:
        name: of the bundle's folder.
        model: see :class:`.Model`.
        meta: the bundle's metadata.
        release: what only the packer knows.
    """
    settings = model.settings
    names = settings["sequences"]
    packages = meta["required_packages_version"].items()
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=name,
        cggm=version("cggm"),
        sequences=", ".join(names),
        channels="\n".join(f"{i}. `{n}`" for i, n in enumerate(names, 1)),
        architecture=settings["architecture"],
        way="in overlapping windows" if settings["patch_size"] else "slice by slice",
        method=model.description.get("method", "not told"),
        patients=len(model.description.get("trained_on", ())) or "an unknown number of",
        voxels=_voxels(model.description.get("grid", {})),
        data=release.data,
        weights_license=release.weights_license,
        year=(
            ", 4 resection cavity (RC), as in BraTS 2024"
            if settings["outputs"] == "cavity"
            else ", as in BraTS 2023"
        ),
        small_et=(
            f" Where all ET has less than {model.smallest_et:g} ml it counts as NCR."
            if model.smallest_et
            else ""
        ),
        performance=_performance(model),
        absent=_absent(model),
        versions=", ".join(
            f"{package} {number}"
            for package, number in (
                ("MONAI", meta["monai_version"]),
                ("PyTorch", meta["pytorch_version"]),
                ("NumPy", meta["numpy_version"]),
                *packages,
            )
        ),
    )


def _voxels(grid: Mapping[str, Any]) -> str:
    sizes = grid.get("voxel_mm")
    return " x ".join(f"{size:g}" for size in sizes) + " mm" if sizes else "a size not told"


def _performance(model: Model) -> str:
    rows = model.table.get("subsets", ())
    if not rows:
        return (
            "**Unknown: these weights were never evaluated** with `cggm evaluate brats --subsets "
            "True`. Do not use them before that is done."
        )
    header = ["sequences", "cases", *(f"{region} Dice" for region in measured_regions(rows[0]))]
    flips = (
        " Measured with flips, which this bundle leaves out." if model.table.get("flips") else ""
    )
    lines = [[row["sequences"], str(row["cases"]), *region_figures(row)] for row in rows]
    return "\n".join(
        [
            f"Measured on {model.table['data']}, part {model.table['part']}. "
            f"{model.table['what'].partition('; bias_ml')[0]}.{flips}",
            "",
            *(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *lines]),
        ]
    )


def _absent(model: Model) -> str:
    """What the network says without each sequence."""
    names = model.settings["sequences"]
    said = [
        subset_warning(model.description, [n for n in names if n != name])
        for name in (names if len(names) > 1 else [])
    ]
    found = [f"- {sentence[0].upper()}{sentence[1:]}." for sentence in said if sentence]
    return "\n".join(found) or "- It was trained to do without any of them."
