"""Figures of a training: its validation, and what its method did to each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ....data.colors import LINES
from ...handlers.modulation import FUSION
from ..report.drawing import DASHES, name_panels, panels, share_legend, style_of
from ..report.pieces import FigurePiece, MissingPiece

Rows = Sequence[Mapping[str, str]]  # of a history.csv


def validation_figure(
    histories: Mapping[str, Rows], quantity: str, what: str
) -> FigurePiece | MissingPiece:
    """Draw the validation by epoch, a line for each training; nothing where there was none.

    Args:
        histories: rows of ``history.csv`` by the name of the training.
        quantity: a column, such as "validation/dice/mean".
        what: that is, for the axis.
    """
    title = "Validation by epoch"
    if not any(_line(rows, quantity)[0] for rows in histories.values()):
        return MissingPiece("", title, "There was no validation in so few epochs.")
    figure, (axes,) = panels(1)
    for (name, rows), color, dashes in zip(histories.items(), LINES, DASHES, strict=False):
        axes.plot(*_line(rows, quantity), color=color, linestyle=dashes, marker=".", label=name)
    _finish(axes, what)
    share_legend(figure, axes)
    return FigurePiece("", title, [], figure)


def modality_figure(rows: Rows, score: str) -> FigurePiece:
    """Draw a figure of each modality's score by epoch and, where a method sets it, its balance.

    Args:
        rows: of ``history.csv``.
        score: what the classifiers' score is.
    """
    names = [key.partition("/")[2] for key in rows[0] if key.startswith("score/")]
    modalities = [name for name in names if name != FUSION]
    titles = {"score": f"score of the classifier ({score})", "balance": "balance"}
    shown = [key for key in titles if any(_line(rows, f"{key}/{m}")[0] for m in modalities)]
    figure, grid = panels(len(shown), columns=1)
    for quantity, axes in zip(shown, grid, strict=True):
        for name in modalities:
            line = _line(rows, f"{quantity}/{name}")
            axes.plot(*line, marker=".", label=name, **style_of(name, modalities))
        _finish(axes, "")
    if len(shown) > 1:
        grid[1].axhline(1, color="black", linewidth=0.8, linestyle="--")
    name_panels(grid, [titles[quantity] for quantity in shown])
    share_legend(figure, grid[0])
    caption = ["Means over each epoch."]
    if "balance" in shown:
        caption.append("Balance: the factor of each encoder's gradients, 1 changes nothing.")
    return FigurePiece("", "Modalities by epoch", caption, figure)


def _line(rows: Rows, column: str) -> tuple[list[int], list[float]]:
    """Epochs and values of a column where it has any."""
    known = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _finish(axes: Axes, what: str) -> None:
    axes.set(xlabel="epoch", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
