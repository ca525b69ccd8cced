"""Tables of what networks are worth with some of their sequences: this run's, and the prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ....data.brats.conventions import REGIONS
from ...segmentation.reliability import joined, untold_regions
from ..report.pieces import Cell, MissingPiece, Table, TablePiece
from .steps import content

PREPARED = Path(__file__).with_name("subsets_over_seeds.json")
ALL = "all sequences"
MEAN = "mean over all subsets"
NOT_RELIABLE = "not\nreliable"

Arm = Mapping[str, Any]  # "name", "subsets": a row each, "mean" over them


def views(sequences: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name the subsets that are shown, each once, as far as a network has their sequences.

    >>> views(["flair", "t2"])
    {'all sequences': ('flair', 't2'), 'without flair': ('t2',), 'flair alone': ('flair',)}
    """
    named = {ALL: tuple(sequences)}
    for absent in ("t1ce", "flair"):
        named[f"without {absent}"] = tuple(name for name in sequences if name != absent)
    for only in ("flair", "t1ce"):
        named[f"{only} alone"] = tuple(name for name in sequences if name == only)
    first = {subset: label for label, subset in reversed(named.items()) if subset}
    return {label: subset for label, subset in named.items() if first.get(subset) == label}


def arm_of(name: str, report: Mapping[str, Any]) -> Arm:
    """Bring a ``subsets.json`` of an evaluation into the form of the prepared table."""
    rows = [{k.removesuffix("_dice"): v for k, v in row.items()} for row in report["subsets"]]
    mean = {region: fmean(row[region] for row in rows) for region in REGIONS}
    mean["all"] = fmean(mean.values())
    return {"name": name, "subsets": rows, "mean": mean}


def subset_table(title: str, caption: Sequence[str], arms: Sequence[Arm]) -> TablePiece:
    """Compare arms in the subsets of :func:`views`, and in the mean over all subsets.

    Args:
        title: of the table.
        caption: sentences; what cannot be told from a subset is added to them.
        arms: as the prepared file has them, all with the same subsets.
    """
    sequences = arms[0]["subsets"][-1]["sequences"].split("+")  # all come last
    rows: list[list[Cell]] = []
    untold: dict[str, str] = {}
    for label, subset in views(sequences).items():
        untold |= untold_regions(subset)
        rows.append([Cell(label)])
        rows += [_row(arm["name"], _of_subset(arm, subset), untold_regions(subset)) for arm in arms]
    rows.append([Cell(MEAN)])
    rows += [_row(arm["name"], arm["mean"]) for arm in arms]
    caption = [
        *caption,
        *(f"{sentence}." for sentence in untold.values()),
        f"The last rows are means over all {len(arms[0]['subsets'])} subsets of the sequences, "
        "of every region, as published tables have them.",
    ]
    numbers = [{"arm": arm["name"], **row} for arm in arms for row in arm["subsets"]]
    return TablePiece("", Table(title, caption, ["", *REGIONS], rows), numbers)


def prepared_table(path: Path = PREPARED) -> TablePiece | MissingPiece:
    """Give the table over several seeds that is part of the package."""
    title = "Dice in percent, several seeds"
    if not path.is_file():
        return MissingPiece("", title, f"{path.name} is not part of this copy.")
    made = content(path)
    arms = made["arms"]
    caption = [
        f"Measured before, on {made['data']}, with seeds {', '.join(map(str, made['seeds']))}, by "
        f"{made['command']}. Means over cases and seeds; in brackets the 95 % interval of the mean "
        "over seeds (t), which says how far another start of the training could lead.",
        f"Mean of the three regions over all subsets: {'; '.join(map(headline, arms))}.",
        *made.get("notes", ()),
    ]
    return subset_table(title, caption, arms)


def headline(arm: Arm) -> str:
    """Say the mean over regions and subsets of an arm."""
    return f"{arm['name']} {_figure(arm['mean'], 'all', ' ')}"


def _of_subset(arm: Arm, subset: Sequence[str]) -> Mapping[str, Any]:
    return next(row for row in arm["subsets"] if row["sequences"] == joined(subset))


def _row(name: str, row: Mapping[str, Any], untold: Mapping[str, str] | None = None) -> list[Cell]:
    absent = untold or {}
    texts = (NOT_RELIABLE if r in absent else _figure(row, r, "\n") for r in REGIONS)
    return [Cell(name), *(Cell(text) for text in texts)]


def _figure(row: Mapping[str, Any], name: str, space: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    interval = "" if low is None or high is None else f"{space}[{low:.1f}, {high:.1f}]"
    return f"{row[name]:.1f}{interval}"
