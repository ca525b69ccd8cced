"""The table of all subsets of the sequences: Dice, volume bias, counter-intuitive rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ...data.bootstrap import mean_interval
from ...data.brats.conventions import REGIONS
from ...data.errors import InputError
from ...data.files import write_csv, write_json
from ...data.splits import patient_of
from ..handlers.checkpoint_file import Weights
from .region_dice import region_counts
from .reliability import FILE, digests, joined, table_file
from .subset_inference import subsets_of
from .volume_dice import dice_of_counts

WHAT = (
    "volumetric Dice in percent, mean over cases, with the 95 % interval of a bootstrap over "
    "patients; a region empty in truth and prediction counts as 100; bias_ml: predicted minus true "
    "volume, mean over cases"
)
COUNTER = (
    "share of cases and pairs of subsets, in percent, where one sequence more gives a lower Dice"
)


class SubsetReport:
    """Handler for an evaluator with :class:`.SubsetInferer`; writes its tables at the end.

    ``subsets.csv`` and ``subsets.json`` have a row per subset. The JSON is also kept beside the
    weights, with their digest, so that inference can say what a subset is worth. Further measures
    per subset have their place in :func:`subset_rows`.

    Args:
        folder: where the two files go.
        sequences: the network's, in its order.
        weights: what was evaluated; nothing is kept beside them after part "train".
        data: what the cases are, for the reader.
        part: of the split.
        flips: whether masks are means over flips of the images.
        seed: of the bootstrap.
        show: print the table.
    """

    def __init__(
        self,
        folder: str,
        *,
        sequences: Sequence[str],
        weights: Weights,
        data: str,
        part: str,
        flips: bool = False,
        seed: int = 0,
        show: bool = True,
    ) -> None:
        self.folder, self.weights = Path(folder), weights
        self.subsets = subsets_of(sequences)
        self.about = {"data": data, "part": part, "flips": flips}
        self.seed, self.show = seed, show
        self._counts: dict[str, Tensor] = {}
        self._voxel_ml: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.STARTED, lambda _: self._counts.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _collect(self, engine: Engine) -> None:
        output, batch = engine.state.output, engine.state.batch
        for i, name in enumerate(batch["case"]):  # type: ignore[index]
            predicted, true = (output[key][i].cpu() for key in ("pred", "label"))  # type: ignore
            self._counts[name] = region_counts(predicted, true.expand_as(predicted))
            self._voxel_ml[name] = float(batch["voxel_ml"][i])  # type: ignore[index]

    def _write(self, _: Engine) -> None:
        names = sorted(self._counts)
        counts = torch.stack([self._counts[name] for name in names]).double()
        voxel_ml = np.array([self._voxel_ml[name] for name in names])
        rows = subset_rows(counts, voxel_ml, names, self.subsets, self.seed)
        rates = counter_intuitive_rates(dice_of_counts(counts).numpy(), self.subsets)
        table = {
            **self.about,
            "cases": len(names),
            "what": WHAT,
            "subsets": rows,
            "counter_intuitive": {"what": COUNTER, **rates},
        }
        write_csv(self.folder / "subsets.csv", rows)
        write_json(self.folder / FILE, table)
        if self.show:
            print(_text(rows, rates), flush=True)
        if self.about["part"] != "train":
            self._keep(table)

    def _keep(self, table: Mapping[str, Any]) -> None:
        path = table_file(self.weights)
        try:
            write_json(path, {"weights": digests(self.weights), **table})
        except InputError as error:  # such as weights in a folder of somebody else
            print(f"the table of subsets is not kept beside the weights: {error}", flush=True)


def subset_rows(
    counts: Tensor,
    voxel_ml: np.ndarray,
    names: Sequence[str],
    subsets: Sequence[Sequence[str]],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row per subset.

    Args:
        counts: voxels in both, predicted and true, shape (cases, subsets, 3 regions, 3).
        voxel_ml: volume of a voxel of each case in milliliters, shape (cases,).
        names: of the cases.
        subsets: in the order of the counts.
        seed: of the bootstrap.
    """
    dice = 100 * dice_of_counts(counts).numpy()
    bias = (counts[..., 1] - counts[..., 2]).numpy() * voxel_ml[:, None, None]
    owners = [patient_of(name) for name in names]
    rows: list[dict[str, Any]] = []
    for i, subset in enumerate(subsets):
        row: dict[str, Any] = {"sequences": joined(subset), "cases": len(names)}
        for j, region in enumerate(REGIONS):
            interval = mean_interval(dice[:, i, j], owners, seed=seed)
            row[f"{region}_dice"] = round(float(dice[:, i, j].mean()), 2)
            row[f"{region}_low"], row[f"{region}_high"] = (
                (None, None) if interval is None else (round(end, 2) for end in interval)
            )
            row[f"{region}_bias_ml"] = round(float(bias[:, i, j].mean()), 3)
        rows.append(row)
    return rows


def counter_intuitive_rates(
    dice: np.ndarray, subsets: Sequence[Sequence[str]]
) -> dict[str, float | None]:
    """How often a sequence more gives a lower Dice, in percent (SimMLM, arXiv 2507.19264).

    Args:
        dice: shape (cases, subsets, 3 regions).
        subsets: in the order of `dice`.
    """
    pairs = [
        (i, j)
        for i, few in enumerate(subsets)
        for j, more in enumerate(subsets)
        if len(more) == len(few) + 1 and set(few) < set(more)
    ]
    if not pairs:
        return dict.fromkeys(REGIONS)
    few, more = (list(side) for side in zip(*pairs, strict=True))
    worse = (dice[:, more] < dice[:, few]).mean((0, 1))
    return {region: round(100 * float(worse[k]), 2) for k, region in enumerate(REGIONS)}


def _text(rows: Sequence[Mapping[str, Any]], rates: Mapping[str, float | None]) -> str:
    width = max(len(row["sequences"]) for row in rows)
    lines = [f"{'Dice %':{width}}" + "".join(f"{region:>7}" for region in REGIONS)]
    for row in rows:
        figures = "".join(f"{row[f'{region}_dice']:7.1f}" for region in REGIONS)
        lines.append(f"{row['sequences']:{width}}{figures}")
    means = (np.mean([row[f"{region}_dice"] for row in rows]) for region in REGIONS)
    lines.append(f"{'mean':{width}}" + "".join(f"{mean:7.1f}" for mean in means))
    if None not in rates.values():
        lines.append(
            "a sequence more gives a lower Dice in "
            + ", ".join(f"{rate:.1f} % ({region})" for region, rate in rates.items())
        )
    return "\n".join(lines)
