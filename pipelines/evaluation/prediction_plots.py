"""Pictures of predictions: a confusion matrix, and values against their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from ...data.colors import BLUE
from ...data.files import write_atomically

_DPI = 130
# Up to so many classes the counts fit into their cells.
_MOST_WITH_COUNTS = 20
_LONGEST_NAME = 28
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#9ecae1", BLUE, "#08306b"])
_EMPTY = "#e8e8e8"


def draw_confusion(
    path: Path, counts: np.ndarray, classes: Sequence[str], *, title: str = ""
) -> None:
    """Write a PNG of a confusion matrix: colored by the share of the true class, with counts.

    A gray row is a class without samples.

    Args:
        path: the file to write; it appears only when complete.
        counts: true class by predicted class, shape (C, C).
        classes: C names; over a hundred are still legible.
        title: what stands above the picture.
    """
    count = len(classes)
    small = count <= _MOST_WITH_COUNTS
    side, font = (max(0.5 * count, 2.5), 9) if small else (0.145 * count, 6.5)
    figure = Figure(figsize=(side + 2.6, side + 2.2), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    total = counts.sum(1, keepdims=True)
    shares = np.ma.masked_array(
        100 * counts / np.maximum(total, 1), np.repeat(total == 0, count, 1)
    )
    axes.set_facecolor(_EMPTY)
    # Without numbers in the cells a linear scale would hide the rarer confusions.
    scale = PowerNorm(1.0 if small else 0.5, vmin=0, vmax=100)
    image = axes.imshow(shares, cmap=_SHADES, norm=scale, interpolation="nearest")
    names = [_shortened(name) for name in classes]
    # A dollar sign in a name is not the beginning of a formula.
    axes.set_xticks(range(count), names, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=font, parse_math=False)
    if small:
        _write_counts(axes, counts, shares)
    else:
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#eeeeee", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="share of the true class, %", shrink=0.7, aspect=30)
    axes.set_title(title, fontsize=10 if small else 13, parse_math=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def draw_scatter(
    path: Path, values: np.ndarray, labels: np.ndarray, *, title: str = "", text: str = ""
) -> None:
    """Write a PNG of predicted values against labels, with the line where they are equal.

    Args:
        path: the file to write; it appears only when complete.
        values: predictions, shape (N,).
        labels: shape (N,).
        title: what stands above the picture.
        text: figures to write into it.
    """
    figure = Figure(figsize=(5.4, 5.6), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    both = np.concatenate([values, labels]) if len(values) else np.array([0.0, 1.0])
    margin = 0.05 * max(float(np.ptp(both)), 1.0)
    limits = float(both.min()) - margin, float(both.max()) + margin
    for line in (axes.axhline, axes.axvline):
        line(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.plot(limits, limits, color="#555555", linewidth=1, linestyle="--", label="equal")
    opacity = float(np.clip(100 / max(len(values), 1), 0.25, 0.8))
    axes.scatter(labels, values, s=16, color=BLUE, alpha=opacity, linewidths=0)
    axes.set(xlim=limits, ylim=limits, xlabel="label", ylabel="prediction", aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top")
    axes.set_title(title, fontsize=10, parse_math=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ma.MaskedArray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 50 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
