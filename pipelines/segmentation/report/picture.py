"""The still picture of a case: outlines in three planes, each region where it is seen best."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ....data.brats.conventions import CLASSES, REGIONS
from ....data.colors import SKY_BLUE
from ..overlays import ALL_COLORS
from .views import View

# Plane: the axes that run to the right, up, and through it. All are shown mirrored, as
# radiologists do: the patient's right is on the left, the nose points to the left.
PLANES: Mapping[str, tuple[int, int, int]] = {
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
ENDS = (("R", "L"), ("A", "P"), ("S", "I"))  # what lies at the left and right, or top and bottom
_BARS = (100, 50, 20, 10, 5, 2, 1)  # mm
# Those of the overlays; a thin line needs a lighter blue.
OUTLINES: Mapping[str, str] = {**ALL_COLORS, "NCR": SKY_BLUE}
_WHOLE = {"WT": OUTLINES["ED"]}
_CORE = {name: OUTLINES[name] for name in ("ET", "NCR")}  # the thinner line on top
_CAVITY = {"RC": OUTLINES["RC"]}
_LINE_WIDTHS = {"WT": 1.2, "ET": 1.8, "NCR": 0.9, "RC": 1.2}
_WIDTH, _DPI = 9.0, 110


def draw_picture(view: View, regions: Collection[str] = REGIONS) -> bytes:
    """Draw a case as a PNG: a row for the whole tumor, and one for its core where there is one.

    Slices are those with most of the predicted region. Outlines leave what they surround visible.
    Where the network tells RC, the resection cavity has a row, too, and is outlined in all.

    Args:
        view: of the case.
        regions: those that the network tells.
    """
    cavity = _CAVITY if "RC" in regions else {}
    rows = [("WT", _WHOLE | cavity)]
    core = next((name for name in ("ET", "TC") if view.region(name).any()), None)
    rows += [] if core is None else [(core, _CORE | cavity)]
    rows += [("RC", cavity)] if cavity and view.region("RC").any() else []
    sizes = [np.array(view.mask.shape)[axis] * view.spacing[axis] for axis in range(3)]
    across, upright = ([sizes[axes[i]] for axes in PLANES.values()] for i in (0, 1))
    height = _WIDTH * max(upright) / sum(across)
    figure = Figure(figsize=(_WIDTH, height * len(rows) + 0.45), dpi=_DPI, facecolor="black")
    grid = figure.subplots(
        len(rows), 3, squeeze=False, gridspec_kw={"width_ratios": across, "wspace": 0, "hspace": 0}
    )
    figure.subplots_adjust(0, 0.45 / figure.get_figheight(), 1, 1)
    for axes_row, (region, outlines) in zip(grid, rows, strict=True):
        sequence, place = view.sequence_for(region), view.place_of(region)
        for axes, plane in zip(axes_row, PLANES, strict=True):
            _show(axes, view, sequence, plane, place, outlines)
        _scale_bar(axes_row[0])
        axes_row[0].text(
            0.02,
            0.98,
            sequence,
            color="white",
            fontsize=11,
            va="top",
            parse_math=False,
            transform=axes_row[0].transAxes,
        )
    lines = [Line2D([], [], color=color, label=name) for name, color in _names(rows).items()]
    figure.legend(
        handles=lines, loc="lower center", ncols=4, fontsize=9, frameon=False, labelcolor="white"
    )
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _names(rows: list[tuple[str, dict[str, str]]]) -> dict[str, str]:
    """What each color of an outline means."""
    known = {"WT": "whole tumor (WT)", "NCR": "necrotic core (NCR)", "ET": "enhancing (ET)"}
    known["RC"] = "resection cavity (RC)"
    return {known[name]: color for _, outlines in rows for name, color in outlines.items()}


def _show(
    axes: Axes,
    view: View,
    sequence: str,
    plane: str,
    place: tuple[int, int, int],
    outlines: Mapping[str, str],
) -> None:
    right, up, through = PLANES[plane]
    across, upright = (view.mask.shape[a] * view.spacing[a] for a in (right, up))
    picture = _slice(view.images[sequence], through, place[through])
    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(0, across, upright, 0),
        interpolation="bilinear",
    )
    columns = (np.arange(picture.shape[1]) + 0.5) * view.spacing[right]
    lines = (np.arange(picture.shape[0]) + 0.5) * view.spacing[up]
    for name, color in outlines.items():
        whole = view.region(name) if name == "WT" else view.mask == CLASSES.index(name)
        inside = _slice(whole, through, place[through])
        if inside.any() and not inside.all():
            axes.contour(
                columns, lines, inside, [0.5], colors=[color], linewidths=_LINE_WIDTHS[name]
            )
    axes.set_axis_off()
    left, right_end, top, bottom = *ENDS[right], *ENDS[up]
    for word, x, y, ha, va in (
        (left, 0.02, 0.5, "left", "center"),
        (right_end, 0.98, 0.5, "right", "center"),
        (top, 0.5, 0.98, "center", "top"),
        (bottom, 0.5, 0.02, "center", "bottom"),
    ):
        axes.text(x, y, word, color="white", fontsize=9, ha=ha, va=va, transform=axes.transAxes)


def _scale_bar(axes: Axes) -> None:
    """A bar of a round length at the lower right."""
    (left, right), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    length = next((bar for bar in _BARS if bar <= 0.4 * (right - left)), _BARS[-1])
    end, y = right - 0.03 * (right - left), bottom * 0.95
    axes.plot([end - length, end], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    axes.text(
        end - length / 2,
        y - 0.01 * bottom,
        f"{length} mm",
        color="white",
        fontsize=8,
        ha="center",
        va="bottom",
    )


def _slice(volume: NDArray[np.generic], through: int, index: int) -> NDArray[np.generic]:
    """A slice as it is shown: rows from top to bottom, columns from left to right."""
    return np.flip(volume.take(index, axis=through).T, (0, 1))
