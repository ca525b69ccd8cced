"""What a mask is worth: regions that cannot be told, Dice of its subset, voxels of the training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.brats.checks import plural
from ...data.brats.conventions import REGION_NEEDS, told_in
from ...data.files import digest_of, read_json
from ..handlers.checkpoint_file import Weights, description_of, files_of

FILE = "subsets.json"  # beside the weights
GRID = "grid"  # entry of a description, see `cggm.data.describe_grid`
_ALLOWED = 0.1  # of a voxel's size


def joined(sequences: Iterable[str]) -> str:
    """Name a subset of sequences, such as ``flair+t1ce``."""
    return "+".join(sequences)


def untold_regions(sequences: Collection[str]) -> dict[str, str]:
    """Regions that cannot be told without a sequence that is absent, each with the reason."""
    return {
        region: f"{region} not reliable without {needed}"
        for region, needed in REGION_NEEDS.items()
        if needed not in sequences
    }


def table_file(weights: Weights) -> Path:
    """Say where the table of some weights lies: beside them, of several beside the first."""
    first, *others = files_of(weights)
    return first.with_name(f"ensemble_{FILE}" if others else FILE)


def digests(weights: Weights) -> str | list[str]:
    """Digest of a file of weights, or of each of several."""
    found = [digest_of(file) for file in files_of(weights)]
    return found[0] if len(found) == 1 else found


def subset_table(weights: Weights) -> Mapping[str, Any]:
    """Read what ``cggm evaluate brats --subsets True`` kept beside these very weights, or {}."""
    try:
        table = read_json(table_file(weights))
        return table if table["weights"] == digests(weights) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def expected_dice(table: Mapping[str, Any], sequences: Sequence[str]) -> str:
    """Say in a line what Dice masks of a subset had, or that it is unknown.

    Args:
        table: from :func:`subset_table`.
        sequences: of the subset, in the network's order.
    """
    untold, row = untold_regions(sequences), _row(table, sequences)
    if row is None:
        return "; ".join(["Dice unknown, these weights were never evaluated", *untold.values()])
    figures = [
        figure if region in untold else f"{region} Dice {figure}"
        for region, figure in zip(measured_regions(row), region_figures(row), strict=True)
    ]
    cases = plural(row["cases"], "case")
    how = ", with flips" if table.get("flips") else ""
    return f"{', '.join(figures)}; measured on {cases} of {table['data']}{how}"


def expected_figures(
    table: Mapping[str, Any], sequences: Sequence[str]
) -> dict[str, float | None] | None:
    """Dice in percent by region, None for one that cannot be told; None where it is unknown.

    Arguments are those of :func:`expected_dice`.
    """
    row, untold = _row(table, sequences), untold_regions(sequences)
    if row is None:
        return None
    regions = measured_regions(row)
    return {region: None if region in untold else row[f"{region}_dice"] for region in regions}


def _row(table: Mapping[str, Any], sequences: Sequence[str]) -> Mapping[str, Any] | None:
    """What the table says of a subset."""
    name = joined(sequences)
    return next((row for row in table.get("subsets", ()) if row["sequences"] == name), None)


def measured_regions(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Regions that a row of :func:`subset_table` has: WT, TC and ET, and perhaps RC."""
    return told_in({key.removesuffix("_dice") for key in row})


def region_figures(row: Mapping[str, Any]) -> list[str]:
    """Write the Dice of each region with its interval, or why it cannot be told.

    Args:
        row: of a subset, from :func:`subset_table`.
    """
    untold = untold_regions(row["sequences"].split("+"))
    return [untold.get(region) or _figure(row, region) for region in measured_regions(row)]


def _figure(row: Mapping[str, Any], region: str) -> str:
    low, high = row[f"{region}_low"], row[f"{region}_high"]
    interval = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    return f"{row[f'{region}_dice']:.1f}{interval}"


def trained_grid(weights: Weights) -> Mapping[str, Any]:
    """The voxel and slice sizes of the training cases, {} where nothing tells them."""
    return description_of(weights).get(GRID) or {}


def other_voxels(grid: Mapping[str, Any], voxel_mm: Sequence[float]) -> str | None:
    """Say that voxels differ from those of the training by more than 10 %, else None.

    Args:
        grid: from :func:`trained_grid`.
        voxel_mm: size of a voxel along RAS+ axes.
    """
    if "voxel_mm" not in grid:
        return None
    trained = np.asarray(grid["voxel_mm"], float)
    if (np.abs(np.asarray(voxel_mm) / trained - 1) <= _ALLOWED).all():
        return None
    return f"voxels of {_sizes(voxel_mm)} mm, trained at {_sizes(trained)} mm"


def removed_remark(voxels: int) -> str:
    """Say that tumor outside the brain was taken away."""
    return f"{voxels} voxels of tumor outside the brain were removed"


def _sizes(voxel_mm: Iterable[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in voxel_mm)
