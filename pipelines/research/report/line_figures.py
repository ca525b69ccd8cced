"""Figures 2, 3, 6 and 7: each modality over the steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from ....data.colors import BLACK
from ...handlers.modulation import FUSION
from .collect import DataSet
from .curves import History
from .drawing import name_panels, panels, share_legend, share_y, style_of
from .pieces import FigurePiece

X = "optimizer step"
UNBOUNDED = 10.0  # a balance beyond this is smoothed by the median
_SCORES = {
    "accuracy": "accuracy",
    "probability": "probability of the true class",
    "log_probability": "log-probability of the true class",
    "mae": "score: minus mean absolute error",
    "acc2": "share with the right sign",
    "dice": "Dice, mean of WT, TC, ET",
    "soft_dice": "Dice of probabilities, mean of WT, TC, ET",
}


@dataclass(frozen=True)
class Panel:
    """One quantity of one training.

    Attributes:
        title: above it.
        quantity: a column of ``modulation.csv``.
        label: of the y axis.
        history: of the training.
    """

    title: str
    quantity: str
    label: str
    history: History

    @property
    def robust(self) -> bool:
        """Whether outliers rule out a mean: the printed eq. 7 is a quotient without bounds."""
        return self.quantity == "balance" and self.history.largest("balance") > UNBOUNDED


def training_figure(
    name: str, data: DataSet, row: str, history: History, score: str | None = None
) -> FigurePiece:
    """Figure 2 or 3: score, gradient magnitude and direction of each modality.

    Args:
        name: of the files.
        data: what was trained on.
        row: the method.
        history: its records.
        score: what epsilon of eq. 6 was, as the setting names it; None where that is not known.
    """
    label = _SCORES.get(score or "", "score")
    shown = [
        Panel("Score of each modality and the fusion", "score", label, history),
        Panel("Gradient magnitude", "gradient_norm", "Euclidean norm, encoder", history),
        Panel("Gradient direction", "cosine", "cosine, modality and fusion", history),
    ]
    caption = [
        f"Trained with {row} on {data.name}. Scores are those of the classifiers on training "
        "batches, and of the network itself (fusion); the magnitude is that of all gradients of "
        "an encoder, before modulation; the direction compares the last-layer gradients of "
        "classifier and network.",
        history.smoothing(),
    ]
    title = f"Score, gradient magnitude and direction with {row}, {data.label}"
    return _piece(name, title, caption, shown)


def loss_figure(name: str, data: DataSet, histories: Mapping[str, History]) -> FigurePiece:
    """Figure 6: the losses of the classifiers and of the network, a panel per method."""
    shown = [Panel(row, "loss", "training loss", history) for row, history in histories.items()]
    caption = [
        f"Loss of each modality's classifier and of the network itself (fusion) on {data.name}, "
        "without what a method adds to it.",
        *_smoothing(histories),
    ]
    title = f"Losses during training, {data.label}"
    return _piece(name, title, caption, shown, is_one_scale=True)


def _smoothing(histories: Mapping[str, History]) -> list[str]:
    """What a reader sees, by method where they differ."""
    said = {row: history.smoothing() for row, history in histories.items()}
    if len(set(said.values())) == 1:
        return list(said.values())[:1]
    return [f"{row}: {sentence}" for row, sentence in said.items()]


def balance_figure(name: str, data: DataSet, row: str, history: History) -> FigurePiece:
    """Figure 7: the balancing term of eq. 7; above 1 a modality is promoted, below suppressed."""
    panel = Panel(row, "balance", "balance (eq. 7)", history)
    caption = [
        f"Balancing term of {row} on {data.name}. Dashed line at 1: above it the modality is "
        "promoted, below it suppressed.",
        history.smoothing("median" if panel.robust else "mean"),
    ]
    return _piece(name, f"Balancing term of {row}, {data.label}", caption, [panel])


def _piece(
    name: str, title: str, caption: list[str], shown: list[Panel], *, is_one_scale: bool = False
) -> FigurePiece:
    figure, grid = panels(len(shown))
    figure.suptitle(title, fontsize=11)
    numbers = []
    for axes, panel in zip(grid, shown, strict=True):
        numbers += _draw(axes, panel)
    if len(shown) > 1:
        name_panels(grid, [panel.title for panel in shown])
    share_legend(figure, grid[0])
    if is_one_scale:
        share_y(grid)
    return FigurePiece(name, title, caption, figure, numbers)


def _draw(axes: Axes, panel: Panel) -> list[dict[str, Any]]:
    history, numbers = panel.history, []
    for modality in [*history.modalities, FUSION]:
        curve = history.curve(modality, panel.quantity, robust=panel.robust)
        if curve is None:
            continue
        style = style_of(modality, history.modalities)
        axes.plot(curve.steps, curve.mean, label=modality, **style)
        if curve.sd is not None:
            band = (curve.mean - curve.sd, curve.mean + curve.sd)
            axes.fill_between(curve.steps, *band, color=style["color"], alpha=0.15, linewidth=0)
        what = {"panel": panel.title, "quantity": panel.quantity, "modality": modality}
        numbers += [{**what, **point} for point in curve.points()]
    if panel.quantity == "balance":
        axes.axhline(1, color=BLACK, linewidth=0.9, linestyle="--", zorder=0)
    if panel.quantity == "cosine":
        axes.axhline(0, color=BLACK, linewidth=0.7, zorder=0)
    axes.set(xlabel=X, ylabel=panel.label)
    axes.margins(x=0.01)
    return numbers
