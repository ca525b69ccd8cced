"""The picture of a patient over time: volumes above, the product of diameters below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from ....data.colors import BLACK, BLUE, GREEN, PURPLE, VERMILION
from ....data.files import write_atomically
from .table import Measured

_STYLES = {"WT": (BLUE, "o"), "TC": (GREEN, "s"), "ET": (VERMILION, "^"), "RC": (PURPLE, "D")}


def draw_course(path: Path, dates: Sequence[Measured]) -> None:
    """Write a PNG of a patient's dates, in their order; what cannot be told leaves a gap.

    Args:
        path: the file; it appears only when complete.
        dates: two or more of one patient.
    """
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    volumes, product = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = _places(dates)
    for region in _STYLES:
        if region != "RC" or any(one.values["RC_ml"] is not None for one in dates):
            _line(volumes, places, dates, f"{region}_ml", region)
    _line(product, places, dates, "ET_mm2", "ET")
    _mark_new(volumes, places, dates)
    volumes.set(ylabel="ml", ylim=(0, None))
    product.set(ylabel="ET: product of\ndiameters (mm²)", ylim=(0, None))
    _name_dates(product, dates)
    for axes in (volumes, product):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.12)
    handles, labels = volumes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    name = dates[0].visit.patient
    figure.suptitle(f"{name} (research use only)", fontsize=11, parse_math=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def _places(dates: Sequence[Measured]) -> list[Any]:
    """Days where there are such, else 0, 1, …"""
    days = [one.visit.day for one in dates]
    return list(range(len(dates))) if None in days else days


def _line(
    axes: Axes, places: Sequence[Any], dates: Sequence[Measured], name: str, region: str
) -> None:
    color, marker = _STYLES[region]
    values = [one.values[name] for one in dates]
    heights = [float("nan") if value is None else value for value in values]
    axes.plot(places, heights, color=color, marker=marker, label=region)


def _mark_new(axes: Axes, places: Sequence[Any], dates: Sequence[Measured]) -> None:
    new = [place for place, one in zip(places, dates, strict=True) if one.new]
    for place in new:
        label = "new lesion" if place == new[0] else None
        axes.axvline(place, color=BLACK, linestyle=":", label=label)


def _name_dates(axes: Axes, dates: Sequence[Measured]) -> None:
    if None in [one.visit.day for one in dates]:
        axes.set_xticks(range(len(dates)), [one.visit.when for one in dates])
        return
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
