"""The picture of the study: differences to joint training with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ....data.colors import BLACK, BLUE
from ..report.drawing import panels
from .findings import Study

SHOWN = ("printed", "bounded", "bounded: shuffled")


def differences_figure(study: Study, shown: Sequence[str] = SHOWN) -> Figure:
    """A panel per variant: the difference on every data set with its interval.

    Args:
        study: the results.
        shown: variants, before the one that validation chooses.
    """
    ranked = study.ranked()
    names = [*shown, *([ranked[0][0]] if ranked and ranked[0][0] not in shown else [])]
    figure, grid = panels(len(names))
    for index, (axes, name) in enumerate(zip(grid, names, strict=True)):
        for row, data in enumerate(reversed(study.data)):
            e = study.estimate(data, name)
            if e is not None:
                error = [[e.mean - e.low], [e.high - e.mean]]
                axes.errorbar(e.mean, row, xerr=error, fmt="o", color=BLUE, capsize=3)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(study.data)), study.data[::-1] if index == 0 else [])
        axes.set_title(name, parse_math=False)
        axes.set_xlabel("points on the test parts")
    low = min(axes.get_xlim()[0] for axes in grid)
    high = max(axes.get_xlim()[1] for axes in grid)
    for axes in grid:
        axes.set_xlim(low, high)
    figure.suptitle("Difference to joint training, with 95 % intervals")
    return figure
