"""Figure 5: what CGGM gains over joint training with other rho and lambda."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ....data.colors import BLACK, BLUE
from ...evaluation.outcomes import PLAIN
from .collect import DataSet, Row
from .drawing import name_panels, panels, share_y
from .measured import TITLES, figures_of
from .pieces import FigurePiece

SIGNS = {"rho": "ρ", "lam": "λ"}
SWEEPS = {"rho": "scaling", "lam": "trade-off"}  # the paper's words


def sweep_figure(
    name: str,
    data: DataSet,
    sweeps: Mapping[str, Sequence[Row]],
    joint: Row,
) -> FigurePiece:
    """A panel for each setting that was varied.

    Args:
        name: of the files.
        data: what was trained on.
        sweeps: setting ("rho", "lam") to rows whose own settings have it.
        joint: what they are compared with.
    """
    figure, grid = panels(len(sweeps))
    title = f"CGGM against joint training with other ρ and λ, {data.label}"
    figure.suptitle(title, fontsize=11)
    shown = figures_of(data)[0]
    numbers: list[dict[str, Any]] = []
    for axes, (setting, rows) in zip(grid, sweeps.items(), strict=True):
        lines = gains(setting, rows, joint, shown)
        _draw(axes, setting, lines)
        numbers += lines
    unit = "" if shown in PLAIN else " (percentage points)"
    grid[0].set_ylabel(f"{TITLES[shown]}, difference to joint{unit}")
    share_y(grid)
    name_panels(grid, [f"{SWEEPS[setting]} {SIGNS[setting]}" for setting in sweeps])
    caption = [
        f"{TITLES[shown]} on the test part of {data.name}, minus that of joint training with the "
        "same seeds.",
        _seeds(numbers),
        "The dashed line is joint training. Values stand at equal distances.",
        *(_fixed(setting, rows) for setting, rows in sweeps.items()),
    ]
    return FigurePiece(name, title, caption, figure, numbers)


def gains(setting: str, rows: Sequence[Row], joint: Row, figure: str) -> list[dict[str, Any]]:
    """Mean difference to joint training over the seeds of both, by value of the setting."""
    lines = []
    theirs = pd.Series(joint.values(figure), dtype=float)
    for row in sorted(rows, key=lambda row: row.own[setting]):
        gain = (pd.Series(row.values(figure), dtype=float) - theirs).dropna()
        if len(gain) > 0:
            sd = float(gain.std()) if len(gain) > 1 else None
            line = {"setting": setting, "value": row.own[setting], "figure": figure}
            lines.append(line | {"mean": float(gain.mean()), "sd": sd, "seeds": len(gain)})
    return lines


def _seeds(numbers: Sequence[Mapping[str, Any]]) -> str:
    """Over how many seeds the points are means."""
    counts = sorted({line["seeds"] for line in numbers})
    if counts == [1]:
        return "One seed."
    most = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[-1]}"
    return f"Mean over {most} seeds; bars: ± 1 standard deviation of the difference over them."


def _draw(axes: Axes, setting: str, lines: Sequence[Mapping[str, Any]]) -> None:
    # At equal distances: the values of lambda lie far apart.
    places = range(len(lines))
    means = [line["mean"] for line in lines]
    spreads = [line["sd"] or 0.0 for line in lines]
    axes.axhline(0, color=BLACK, linewidth=0.9, linestyle="--", zorder=0)
    axes.errorbar(places, means, spreads, color=BLUE, marker="o", capsize=3, linewidth=1.6)
    axes.set_xticks(list(places), [f"{line['value']:g}" for line in lines])
    axes.set_xlabel(f"{SIGNS[setting]} ({setting})")


def _fixed(setting: str, rows: Sequence[Row]) -> str:
    others = {k: v for k, v in rows[0].own.items() if k != setting}
    words = ", ".join(f"{SIGNS.get(k, k)} = {v}" for k, v in others.items())
    return (
        f"While {SIGNS[setting]} varies, CGGM's other settings: {words or 'the bundle has them'}."
    )
