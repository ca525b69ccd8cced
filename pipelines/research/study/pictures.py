"""Figures of the study: differences with intervals, ranks, factors over the training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scikit_posthocs
from matplotlib.figure import Figure

from ....data.colors import LINES
from ..report.drawing import DASHES, name_panels, panels, share_legend, share_y
from .statistics import Ranking

MARKERS = "osD^vP"


def differences_figure(
    comparisons: pd.DataFrame, dropouts: Sequence[float], equivalence: float
) -> Figure:
    """Methods against joint training: a row per cell, a panel per dropout.

    Args:
        comparisons: those to draw.
        dropouts: a panel for each.
        equivalence: half the width of the region that is shaded.
    """
    figure, grid = panels(len(dropouts))
    figure.set_size_inches(11, 5.6)
    methods = list(dict.fromkeys(comparisons["method"]))
    cells = list(dict.fromkeys(comparisons["cell"]))
    for axes, dropout in zip(grid, dropouts, strict=True):
        axes.axvspan(-equivalence, equivalence, color="0.92", zorder=0)
        axes.axvline(0, color="0.4", linewidth=0.8)
        shown = comparisons[comparisons["dropout"] == dropout]
        for i, method in enumerate(methods):
            rows = shown[shown["method"] == method].set_index("cell").reindex(cells)
            middle = (len(methods) - 1) / 2
            y = np.arange(len(cells)) + 0.17 * (i - middle)
            bars = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
            axes.errorbar(
                rows["mean"],
                y,
                xerr=bars,
                label=method,
                color=LINES[i % len(LINES)],
                fmt=MARKERS[i % len(MARKERS)],
                markersize=4,
                linewidth=1.2,
            )
        axes.set_yticks(range(len(cells)), cells if axes is grid[0] else [])
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.set_xscale("symlog", linthresh=2)
        axes.set_xticks(
            [-10, -5, -2, -1, 0, 1, 2, 5, 10], ["-10", "-5", "-2", "-1", "0", "1", "2", "5", "10"]
        )
        axes.set_xlabel("points on test, minus joint training")
    name_panels(grid, [f"modality dropout {p:g}" if p else "no modality dropout" for p in dropouts])
    share_legend(figure, grid[0])
    return figure


def ranks_figure(found: Ranking, baseline: str) -> Figure:
    """Critical-difference diagram: methods that a bar joins do not differ by Nemenyi's test."""
    figure, (axes,) = panels(1)
    figure.set_size_inches(9, 0.24 * len(found.ranks) + 1.6)
    axes.grid(False)
    scikit_posthocs.critical_difference_diagram(
        found.ranks,
        found.alike,
        ax=axes,
        label_props={"fontsize": 9},
        elbow_props={"linewidth": 0.9},
        color_palette={
            name: "#000000" if name == baseline else "#56606b" for name in found.ranks.index
        },
    )
    axes.set_title(f"mean rank over {found.cells} cells, 1 is best (Friedman p = {found.p:.2g})")
    return figure


def factors_figure(profiles: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Mean factors of each modality over the training, a panel per cell and method.

    Args:
        profiles: title, and factors by period and modality, (periods, M).
    """
    figure, grid = panels(len(profiles), 4)
    for axes, (_, values) in zip(grid, profiles, strict=True):
        axes.axhline(1, color="0.4", linewidth=0.8)
        for m in range(values.shape[1]):
            axes.plot(
                100 * (np.arange(len(values)) + 0.5) / len(values),
                values[:, m],
                color=LINES[m % len(LINES)],
                linestyle=DASHES[m % len(DASHES)],
                label=f"m{m + 1}",
            )
        axes.set_xlabel("training, percent")
        axes.set_ylabel("mean factor")
    share_y(grid)
    name_panels(grid, [title for title, _ in profiles])
    widest = max(range(len(profiles)), key=lambda i: profiles[i][1].shape[1])
    share_legend(figure, grid[widest])
    return figure
