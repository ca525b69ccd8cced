"""Common parts of all figures: panels, line styles, legends, fonts and files."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ....data.colors import BLACK, LINES
from ....data.files import write_atomically
from ...balancing.record import FUSION

# Line styles differ too, for print without color.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
PANEL = (4.2, 3.3)  # inches
_LETTERS = "abcdefgh"
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "cggm",  # the same figure gives the same file
    "pdf.fonttype": 42,
}


def panels(count: int, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, in rows of ``columns``; all in one row when not given."""
    columns = min(columns or count, count)
    rows = -(-count // columns)
    with mpl.rc_context(_STYLE):
        size = (PANEL[0] * columns, PANEL[1] * rows + 0.6)  # title and legend
        figure = Figure(figsize=size, dpi=150)
        figure.set_layout_engine("constrained", w_pad=0.1)  # inches between panels
        grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.set_axis_off()
    for axes in grid[:count]:
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure, grid[:count]


def style_of(modality: str, modalities: Sequence[str]) -> dict[str, Any]:
    """Color and dashes of a modality's line; black for the whole network."""
    if modality == FUSION:
        return {"color": BLACK, "linestyle": "-", "linewidth": 1.6}
    index = list(modalities).index(modality)
    return {
        "color": LINES[index % len(LINES)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 1.8,
    }


def name_panels(grid: Sequence[Axes], titles: Sequence[str]) -> None:
    """Title the panels, with letters."""
    for letter, axes, title in zip(_LETTERS, grid, titles, strict=False):
        axes.set_title(f"({letter}) {title}", parse_math=False)


def share_legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False
    )


def share_y(grid: Sequence[Axes]) -> None:
    """Give all panels the same y axis, so that heights can be compared."""
    low, high = zip(*(axes.get_ylim() for axes in grid), strict=True)
    for axes in grid:
        axes.set_ylim(min(low), max(high))


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    file = BytesIO()
    with mpl.rc_context(_STYLE):
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write PNG for the screen, and SVG and PDF for print."""
    png = as_png(figure)
    paths = [folder / f"{name}.{suffix}" for suffix in ("png", "svg", "pdf")]
    write_atomically(paths[0], lambda file: file.write(png))
    with mpl.rc_context(_STYLE):
        # Without dates, so that the same records give the same files.
        write_atomically(
            paths[1], lambda file: figure.savefig(file, format="svg", metadata={"Date": None})
        )
        write_atomically(
            paths[2],
            lambda file: figure.savefig(file, format="pdf", metadata={"CreationDate": None}),
        )
    return paths
