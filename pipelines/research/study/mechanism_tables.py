"""Tables of the two experiments on what becomes of a factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..report.pieces import Cell, Table

SHARES = ("negative", "above_10", "above_1000")


def mechanism_tables(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Table]:
    """Tables of ``mechanism.json``; none without it."""
    if not content:
        return []
    return [
        _noise(
            "improvements with noise", content["noise"], "mean_over_deviation", "mean / deviation"
        ),
        _noise("accuracies of batches that stay at 70 %", content["accuracy"], "batch", "batch"),
        _updates(content["updates"]),
    ]


def _noise(title: str, rows: Sequence[Mapping[str, Any]], key: str, word: str) -> Table:
    cells = [
        [
            Cell(str(row["modalities"])),
            Cell(f"{row[key]:g}"),
            *(Cell(f"{100 * row[name]:.2f}") for name in SHARES),
        ]
        for row in rows
    ]
    head = ["modalities", word, "negative %", "beyond ±10 %", "beyond ±1000 %"]
    return Table(f"Eq. 7 as printed, rho = 1, {title}", ["200,000 draws each."], head, cells)


def _updates(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = [
        [
            Cell(f"{row['optimizer']}, factor on the {row['place']}"),
            Cell(f"{row['constant']:.2f}"),
            Cell(f"{row['changing']:.2f}"),
        ]
        for row in rows
    ]
    caption = [
        "Gradients of one encoder in 400 steps of joint training, replayed through the optimizer. "
        "Constant: size of the update under a factor of 0.5 relative to none (0.5: all of it "
        "arrives, 1: nothing). Changing: slope of log size over log factor, for factors drawn anew "
        "at each step between 1/4 and 4 (1: all of it arrives, 0: nothing)."
    ]
    return Table("What a factor does to the update", caption, ["", "constant", "changing"], cells)
