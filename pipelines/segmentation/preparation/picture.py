"""A picture of a prepared case: every sequence where it lies now, with the brain's outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ....data.colors import VERMILION
from ....data.files import write_atomically
from ....data.words import percent
from .case import Prepared, Scan
from .images import Array

PLANES = ("axial", "coronal", "sagittal")
AROUND_MM = 22  # of the head to show around the brain


def draw_preparation(path: Path, prepared: Prepared) -> None:
    """Write a PNG: a row for each sequence, skull and all, in three planes through the brain.

    The outline is that of the reference's brain, so that it fits every row or a registration has
    failed. The patient's right is on the left; the nose points to the left in sagittal slices.
    """
    rows = len(prepared.scans)
    box = _box(prepared.brain, round(AROUND_MM / prepared.spacing))
    middle = [int(np.median(axis)) for axis in np.nonzero(prepared.brain)]
    figure = Figure(figsize=(7.6, 2.7 * rows + 0.9), facecolor="black", layout="constrained")
    axes = figure.subplots(rows, len(PLANES), squeeze=False)
    for row, (name, scan) in zip(axes, prepared.scans.items(), strict=True):
        high = float(np.percentile(scan.on_reference[prepared.brain], 99.5))
        for axis, plane in zip(row, range(3), strict=True):
            cut = (*box[: 2 - plane], middle[2 - plane], *box[3 - plane :])
            _show(axis, scan.on_reference[cut], prepared.brain[cut], high)
        row[0].set_ylabel(_caption(name, scan, prepared.reference), color="white", fontsize=7)
    for axis, plane in zip(axes[0], PLANES, strict=True):
        axis.set_title(plane, color="white", fontsize=9)
    for axis in axes[:, :2].ravel():
        axis.text(0.02, 0.5, "R", color="white", fontsize=8, transform=axis.transAxes)
    odd = "\n".join([*prepared.problems, *prepared.warnings])
    title = f"{prepared.name}: brain {prepared.brain_ml:.0f} ml (research use only)"
    figure.suptitle("\n".join([title, odd]).strip(), color="white", fontsize=8, wrap=True)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def _box(brain: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    x, y, z = (
        slice(max(int(axis.min()) - margin, 0), int(axis.max()) + margin)
        for axis in np.nonzero(brain)
    )
    return x, y, z


def _show(axis: Axes, image: Array, brain: NDArray[np.bool_], high: float) -> None:
    picture, outline = (np.flip(part.T, (0, 1)) for part in (image, brain))
    axis.imshow(picture, cmap="gray", vmin=0, vmax=max(high, 1e-6), interpolation="nearest")
    if outline.any() and not outline.all():
        axis.contour(outline, [0.5], colors=[VERMILION], linewidths=0.8)
    axis.set_xticks([])
    axis.set_yticks([])


def _caption(name: str, scan: Scan, reference: str) -> str:
    sizes = " x ".join(f"{size:.2g}" for size in scan.voxel_mm)
    if scan.registration is None:
        return f"{name} ({sizes} mm)\nreference"
    found = scan.registration
    return (
        f"{name} ({sizes} mm)\n{found.degrees:.1f}°, {found.mm:.1f} mm to {reference}\n"
        f"heads overlap {percent(scan.overlap / 100)}"
    )
