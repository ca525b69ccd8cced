"""The report of an evaluation: Dice as BraTS counts it, and as the CGGM paper does."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ...data.bootstrap import mean_interval
from ...data.brats.checks import plural
from ...data.brats.conventions import ALL_REGIONS, REGIONS, told_in
from ...data.files import write_csv, write_json
from ..handlers.checkpoint_file import Weights
from .outputs import told_regions
from .region_dice import region_counts
from .reliability import digests, other_voxels, trained_grid, untold_regions
from .slice_inference import SliceBatchInferer
from .subset_inference import having
from .volume_dice import dice_of_counts

VOLUMETRIC = (
    "volumetric: Dice over each patient's whole volume, mean over patients (BraTS); a region empty "
    "in truth and prediction counts as 1"
)
ALL_SLICES = (
    "tumor slices: Dice of each slice with tumor, mean over a patient's slices, then over "
    "patients: what the paper's one random tumor slice per patient gives on average; not "
    "comparable with volumetric Dice"
)
DRAWS = (
    "random slices: the paper's protocol as it is, one random tumor slice per patient, repeated; "
    "mean and standard deviation over the repetitions"
)
CALIBRATION = (
    "calibration: expected calibration error of each region's probability over the voxels of the "
    "brain, 15 bins; mean over patients"
)


class EvaluationReport:
    """Handler for an evaluator over the volumes of patients; writes CSV and JSON at the end.

    ``evaluation.csv`` has a row per patient, ``evaluation.json`` the means of both protocols, each
    with a sentence that says what it is. Everything is in percent. "mean" is that of WT, TC and ET,
    also where the network tells RC. What cannot be told from the
    sequences is empty in a row, and what speaks against its figures is its ``remark``.

    Args:
        folder: where the two files go.
        data: what the patients are, for the reader: a folder, or "synthetic".
        about: further facts to keep with the figures, such as method and checkpoint.
        sequences: the network's; None knows nothing of them.
        weights: of the network or of several, to compare the cases with those of the training,
            and to keep their digests with the figures.
        draws: how often a random tumor slice per patient is drawn.
        seed: seed of the draws and of the bootstrap.
        show: print the means.
        inferer: what segments, to tell its calibration where it was given the truth.
        outputs: of the network.
    """

    def __init__(
        self,
        folder: str,
        *,
        data: str,
        about: Mapping[str, Any] | None = None,
        sequences: Sequence[str] | None = None,
        weights: Weights | None = None,
        draws: int = 20,
        seed: int = 0,
        show: bool = True,
        inferer: SliceBatchInferer | None = None,
        outputs: str = "classes",
    ) -> None:
        self.folder = Path(folder)
        self.regions = told_regions(outputs)
        self.inferer = inferer
        self.show = show
        self.about = {"data": data, **(about or {})}
        self.draws, self.seed = draws, seed
        if weights is not None:
            self.about["digests"] = digests(weights)
        self.summary: dict[str, Any] = {}
        self._sequences = None if sequences is None else tuple(sequences)
        self._untold: dict[str, dict[str, str]] = {}  # by case
        self._grid = {} if weights is None else trained_grid(weights)
        self._voxels: dict[str, str] = {}
        self._counts: dict[str, Tensor] = {}
        self._calibration: dict[str, np.ndarray] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        for kept in (self._counts, self._calibration, self._untold, self._voxels):
            kept.clear()

    def _collect(self, engine: Engine) -> None:
        output: dict[str, Tensor] = engine.state.output  # type: ignore[assignment]
        batch: dict[str, Any] = engine.state.batch  # type: ignore[assignment]
        names: list[str] = batch["case"]
        for name, predicted, true in zip(names, output["pred"], output["label"], strict=True):
            # The last prediction is that of all sequences, see `SubsetInferer`.
            slices = (part[-1].cpu().movedim(-1, 0) for part in (predicted, true))
            self._counts[name] = region_counts(*slices, regions=self.regions).double()
        for i, name in enumerate(names):
            if self.inferer is not None and self.inferer.calibration:
                self._calibration[name] = self.inferer.calibration[i][-1]
            if self._sequences is not None:
                present = batch["present"][i] if "present" in batch else None
                self._untold[name] = untold_regions(having(self._sequences, present))
        if self._grid:
            for name, sizes in zip(names, batch["voxel_mm"], strict=True):
                remark = other_voxels(self._grid, sizes.tolist())
                self._voxels.update({} if remark is None else {name: remark})

    def _write(self, _: Engine) -> None:
        counts = dict(sorted(self._counts.items()))
        volumes = torch.stack([dice_of_counts(slices.sum(0)) for slices in counts.values()])
        slices = {name: tumor_slice_dice(c) for name, c in counts.items()}
        self.summary = summarize(volumes, list(slices.values()), self.draws, self.seed)
        self.summary = {**self.about, **self.summary}
        if self._calibration:
            errors = np.stack([self._calibration[name] for name in counts])
            self.summary["calibration"] = {"what": CALIBRATION, **_spread(errors, self.seed)}
        rows = [
            {"case": name, **_row("volumetric", volumes[i]), **_row("tumor_slices", dice.mean(0))}
            for i, (name, dice) in enumerate(slices.items())
        ]
        for row in rows:
            name = str(row["case"])
            untold = self._untold.get(name, {})
            remarks = [*untold.values(), self._voxels.get(name)]
            row |= dict.fromkeys((key for key in row if key.endswith(tuple(untold))), "")
            row["remark"] = "; ".join(remark for remark in remarks if remark)
        if remark := self._remark():
            self.summary["remark"] = remark
        if self._voxels:
            name, remark = next(iter(self._voxels.items()))
            count = f"{len(self._voxels)} of {plural(len(counts), 'case')}"
            self.summary["voxels"] = f"{count}, such as {name}: {remark}"
            print(f"warning: {self.summary['voxels']}", file=sys.stderr, flush=True)
        write_csv(self.folder / "evaluation.csv", rows)
        write_json(self.folder / "evaluation.json", self.summary)
        if self.show:
            print(table(self.summary), flush=True)

    def _remark(self) -> str:
        """What cannot be told, and in how many cases where others can."""
        said = Counter(text for untold in self._untold.values() for text in untold.values())
        total = len(self._counts)
        return "; ".join(
            text if count == total else f"{text} in {count} of {plural(total, 'case')}"
            for text, count in said.items()
        )


def tumor_slice_dice(counts: Tensor, smooth: float = 1e-3) -> Tensor:
    """Dice of each slice with tumor, by the rule of :class:`RegionDice`.

    Args:
        counts: of one patient's slices, shape (slices, regions, 3), WT first.

    Returns:
        Shape (slices with tumor, regions); no rows when the patient has no tumor.
    """
    overlap, predicted, true = counts[counts[:, 0, 2] > 0].unbind(-1)
    return 2 * (overlap + smooth) / (predicted + true + 2 * smooth)


def summarize(volumes: Tensor, slices: list[Tensor], draws: int, seed: int) -> dict[str, Any]:
    """Means of the three protocols, in percent.

    Args:
        volumes: volumetric Dice of WT, TC, ET and perhaps RC, shape (patients, regions).
        slices: per patient the Dice of its tumor slices, shape (slices, regions).
        draws: repetitions of the random draw.
        seed: seed of the draws and the bootstrap.
    """
    with_tumor = [dice for dice in slices if len(dice)]
    summary: dict[str, Any] = {
        "patients": len(volumes),
        "patients_without_tumor_slices": len(slices) - len(with_tumor),
        "volumetric": {"what": VOLUMETRIC, **_spread(volumes.numpy(), seed)},
    }
    if with_tumor:
        means = torch.stack([dice.mean(0) for dice in with_tumor])
        summary["tumor_slices"] = {"what": ALL_SLICES, **_spread(means.numpy(), seed)}
        drawn = random_draws(with_tumor, draws, seed)
        summary["random_slices"] = {"what": DRAWS, "draws": draws}
        names = [*list(ALL_REGIONS)[: drawn.shape[1] - 1], "mean"]
        for i, name in enumerate(names):
            summary["random_slices"][name] = {
                "mean": _percent(drawn[:, i].mean()),
                "sd": _percent(drawn[:, i].std(ddof=1)) if draws > 1 else None,
            }
    return summary


def random_draws(slices: list[Tensor], draws: int, seed: int) -> np.ndarray:
    """Mean Dice of one random tumor slice per patient, shape (draws, regions + 1).

    The last column is the mean of WT, TC and ET.
    """
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        picked = torch.stack([dice[generator.integers(len(dice))] for dice in slices])
        means.append([*picked.mean(0).tolist(), picked[:, : len(REGIONS)].mean().item()])
    return np.array(means)


def table(summary: Mapping[str, Any]) -> str:
    """The summary as lines for a terminal."""
    lines = [f"{plural(summary['patients'], 'patient')} of: {summary['data']}"]
    for protocol in ("volumetric", "tumor_slices", "random_slices"):
        if protocol in summary:
            part = summary[protocol]
            names = [*told_in(part), "mean"]
            figures = "  ".join(f"{name} {part[name]['mean']:.1f}" for name in names)
            lines.append(f"  Dice %  {figures}   {part['what'].partition(':')[0]}")
    return "\n".join(lines)


def _spread(dice: np.ndarray, seed: int) -> dict[str, Any]:
    columns = dict(zip(ALL_REGIONS, dice.T, strict=False))
    columns["mean"] = dice[:, : len(REGIONS)].mean(1)
    return {name: _statistics(values, seed) for name, values in columns.items()}


def _statistics(values: np.ndarray, seed: int) -> dict[str, Any]:
    return {
        "mean": _percent(values.mean()),
        "sd": _percent(values.std(ddof=1)) if len(values) > 1 else None,
        "median": _percent(np.median(values)),
        "interval_95": _interval(values, seed),
    }


def _interval(values: np.ndarray, seed: int) -> list[float] | None:
    """Bootstrap interval of the mean over patients, where there are enough to say one."""
    interval = mean_interval(values, seed=seed)
    return None if interval is None else [_percent(limit) for limit in interval]


def _percent(value: float) -> float:
    return round(100 * float(value), 2)


def _row(prefix: str, dice: Tensor) -> dict[str, float | str]:
    figures = dict(zip(ALL_REGIONS, dice.tolist(), strict=False))
    figures["mean"] = dice[: len(REGIONS)].mean().item()
    return {
        f"{prefix}_{name}": "" if np.isnan(value) else _percent(value)
        for name, value in figures.items()
    }
