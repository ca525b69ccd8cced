"""The table of all subsets of the sequences: Dice, HD95, volume bias, counter-intuitive rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ...data.bootstrap import mean_interval
from ...data.brats.conventions import REGIONS
from ...data.errors import InputError
from ...data.files import write_csv, write_json
from ...data.patients import patient_of
from ..handlers.checkpoint_file import Weights
from .outputs import told_regions
from .region_dice import region_counts
from .region_hd95 import EMPTY_REGIONS, region_hd95
from .reliability import FILE, digests, joined, table_file
from .slice_inference import SliceBatchInferer
from .subset_inference import having, subsets_of
from .volume_dice import dice_of_counts

WHAT = (
    "volumetric Dice in percent, mean over cases, with the 95 % interval of a bootstrap over "
    "patients; a region empty in truth and prediction counts as 100; bias_ml: predicted minus true "
    "volume, mean over cases; hd95_mm: mean over cases, and its median, regions empty in one or "
    f"both counting by the convention {EMPTY_REGIONS.name}; ece: expected calibration error in the "
    "brain, in percent, mean over cases; a case counts in the subsets that it has"
)
COUNTER = (
    "share of cases and pairs of subsets, in percent, where one sequence more gives a lower Dice"
)


class SubsetReport:
    """Handler for an evaluator with :class:`.SubsetInferer`; writes its tables at the end.

    ``subsets.csv`` and ``subsets.json`` have a row per subset that a case has. The JSON is also
    kept beside the weights, with their digest, so that inference can say what a subset is worth.

    Args:
        folder: where the two files go.
        sequences: the network's, in its order.
        weights: what was evaluated; nothing is kept beside them after part "train".
        data: what the cases are, for the reader.
        part: of the split.
        flips: whether masks are means over flips of the images.
        smallest_et: below which volume in milliliters ET was counted as NCR.
        seed: of the bootstrap.
        show: print the table.
        inferer: what segments, to tell its calibration where it was given the truth.
        outputs: of the network.
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
        smallest_et: float = 0,
        seed: int = 0,
        show: bool = True,
        inferer: SliceBatchInferer | None = None,
        outputs: str = "classes",
    ) -> None:
        self.regions = told_regions(outputs)
        self.folder, self.weights = Path(folder), weights
        self.inferer = inferer
        self.sequences, self.subsets = tuple(sequences), subsets_of(sequences)
        self.about = {"data": data, "part": part, "flips": flips, "smallest_et_ml": smallest_et}
        self.seed, self.show = seed, show
        self._figures: dict[str, dict[str, np.ndarray]] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.STARTED, lambda _: self._figures.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _collect(self, engine: Engine) -> None:
        output, batch = engine.state.output, engine.state.batch
        for i, name in enumerate(batch["case"]):  # type: ignore[index]
            predicted, true = (output[key][i].cpu() for key in ("pred", "label"))  # type: ignore
            present = batch["present"][i] if "present" in batch else None  # type: ignore
            there = set(having(self.sequences, present))
            kept = [number for number, s in enumerate(self.subsets) if there.issuperset(s)]
            sizes, voxel_ml = batch["voxel_mm"][i].tolist(), float(batch["voxel_ml"][i])  # type: ignore
            predicted = predicted[kept]
            counts = region_counts(predicted, true.expand_as(predicted), self.regions).double()
            hd95 = region_hd95(predicted.numpy(), true[0].numpy(), sizes, self.regions)
            self._figures[name] = {
                "dice": self._spread(100 * dice_of_counts(counts).numpy(), kept),
                "bias_ml": self._spread((counts[..., 1] - counts[..., 2]).numpy() * voxel_ml, kept),
                "hd95_mm": self._spread(hd95, kept),
            }
            if self.inferer is not None and self.inferer.calibration:
                errors = 100 * self.inferer.calibration[i][kept]
                self._figures[name]["ece"] = self._spread(errors, kept)

    def _spread(self, figures: np.ndarray, kept: Sequence[int]) -> np.ndarray:
        """Figures of the subsets that a case has, among NaN for the others, (subsets, regions)."""
        whole = np.full((len(self.subsets), figures.shape[1]), np.nan)
        whole[kept] = figures
        return whole

    def _write(self, _: Engine) -> None:
        names = sorted(self._figures)
        figures = {
            key: np.stack([self._figures[name][key] for name in names])
            for key in self._figures[names[0]]
        }
        rows = subset_rows(figures, names, self.subsets, self.seed, self.regions)
        rates = counter_intuitive_rates(figures["dice"], self.subsets, self.regions)
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
    figures: Mapping[str, np.ndarray],
    names: Sequence[str],
    subsets: Sequence[Sequence[str]],
    seed: int = 0,
    regions: Sequence[str] = REGIONS,
) -> list[dict[str, Any]]:
    """One row per subset that a case has.

    Args:
        figures: "dice" in percent, "bias_ml", "hd95_mm" and, where it was measured, "ece" in
            percent, each of shape (cases, subsets, regions); NaN where a case does not have the
            subset. "ece" has WT, TC and ET alone.
        names: of the cases.
        subsets: in the order of the figures.
        seed: of the bootstrap.
        regions: likewise.
    """
    owners = np.array([patient_of(name) for name in names])
    rows: list[dict[str, Any]] = []
    for i, subset in enumerate(subsets):
        here = np.isfinite(figures["dice"][:, i, 0])
        if not here.any():
            continue
        row: dict[str, Any] = {"sequences": joined(subset), "cases": int(here.sum())}
        of_cases = {key: values[here, i] for key, values in figures.items()}
        for j, region in enumerate(regions):
            of_region = {k: values[:, j] for k, values in of_cases.items() if j < values.shape[1]}
            interval = mean_interval(of_region["dice"], owners[here].tolist(), seed=seed)
            low, high = interval or (None, None)
            row |= {
                f"{region}_dice": _rounded(of_region["dice"].mean(), 2),
                f"{region}_low": _rounded(low, 2),
                f"{region}_high": _rounded(high, 2),
                f"{region}_bias_ml": _rounded(of_region["bias_ml"].mean(), 3),
                f"{region}_hd95_mm": _rounded(of_region["hd95_mm"].mean(), 2),
                f"{region}_hd95_median_mm": _rounded(np.median(of_region["hd95_mm"]), 2),
            }
            if "ece" in of_region:
                row[f"{region}_ece"] = _rounded(of_region["ece"].mean(), 3)
        rows.append(row)
    return rows


def _rounded(value: float | np.floating | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def counter_intuitive_rates(
    dice: np.ndarray, subsets: Sequence[Sequence[str]], regions: Sequence[str] = REGIONS
) -> dict[str, float | None]:
    """How often a sequence more gives a lower Dice, in percent (SimMLM, arXiv 2507.19264).

    Args:
        dice: shape (cases, subsets, regions); NaN where a case does not have the subset.
        subsets: in the order of `dice`.
        regions: likewise.
    """
    pairs = [
        (i, j)
        for i, few in enumerate(subsets)
        for j, more in enumerate(subsets)
        if len(more) == len(few) + 1 and set(few) < set(more)
    ]
    if not pairs:
        return dict.fromkeys(regions)
    few, more = (list(side) for side in zip(*pairs, strict=True))
    known = np.isfinite(dice[:, more, 0])  # who has more has fewer too
    if not known.any():
        return dict.fromkeys(regions)
    worse = (dice[:, more] < dice[:, few])[known].mean(0)
    return {region: round(100 * float(worse[k]), 2) for k, region in enumerate(regions)}


def _text(rows: Sequence[Mapping[str, Any]], rates: Mapping[str, float | None]) -> str:
    width = max(len(row["sequences"]) for row in rows)
    lines = [f"{'Dice %':{width}}" + "".join(f"{region:>7}" for region in rates)]
    for row in rows:
        figures = "".join(f"{row[f'{region}_dice']:7.1f}" for region in rates)
        lines.append(f"{row['sequences']:{width}}{figures}")
    means = (np.mean([row[f"{region}_dice"] for row in rows]) for region in rates)
    lines.append(f"{'mean':{width}}" + "".join(f"{mean:7.1f}" for mean in means))
    if None not in rates.values():
        lines.append(
            "a sequence more gives a lower Dice in "
            + ", ".join(f"{rate:.1f} % ({region})" for region, rate in rates.items())
        )
    return "\n".join(lines)
