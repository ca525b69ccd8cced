"""How did a quantity develop over training, over several seeds?"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

from ..training.handler import FUSION

POINTS = 400  # drawn of a line, at most
SHARE = 20  # the window of smoothing is this part of all steps


@dataclass(frozen=True)
class Curve:
    """One line and its band.

    Attributes:
        steps: number of the optimizer step, shape (N,).
        mean: over the seeds, shape (N,).
        sd: standard deviation over the seeds (n - 1), shape (N,); None with one seed.
    """

    steps: np.ndarray
    mean: np.ndarray
    sd: np.ndarray | None


@dataclass(frozen=True)
class History:
    """What ``modulation.csv`` of several runs of one method holds.

    Attributes:
        modalities: in the order of the network.
        values: (modality, quantity) to an array of shape (seeds, steps); runs that are longer than
            the shortest are cut.
        seeds: how many.
    """

    modalities: list[str]
    values: dict[tuple[str, str], np.ndarray]
    seeds: int

    @property
    def steps(self) -> int:
        """How many there are of each run."""
        return next(iter(self.values.values())).shape[1]

    @property
    def window(self) -> int:
        """Over how many steps a curve is smoothed; an odd number."""
        return 2 * (self.steps // (2 * SHARE)) + 1

    def largest(self, quantity: str) -> float:
        """The largest absolute value of any modality, 0 where nothing was recorded."""
        found = [abs(v[np.isfinite(v)]).max() for (_, q), v in self.values.items() if q == quantity]
        return float(max(found, default=0.0))

    def curve(self, modality: str, quantity: str, *, robust: bool = False) -> Curve | None:
        """A smoothed line; None where nothing was recorded.

        Args:
            modality: or "fusion", the network itself.
            quantity: such as "score".
            robust: smooth by the moving median, for quantities without bounds.
        """
        values = self.values.get((modality, quantity))
        if values is None or not np.isfinite(values).any():
            return None
        smooth = moving_median if robust else moving_mean
        lines = np.stack([smooth(row, self.window) for row in values])
        shown = np.unique(np.linspace(0, self.steps - 1, min(POINTS, self.steps)).astype(int))
        sd = lines.std(0, ddof=1)[shown] if len(lines) > 1 else None
        return Curve(shown + 1, lines.mean(0)[shown], sd)

    def smoothing(self, word: str = "mean") -> str:
        """A sentence on what a reader sees."""
        band = f"; band: ± 1 standard deviation over {self.seeds} seeds" if self.seeds > 1 else ""
        if self.window == 1:
            return f"One point per optimizer step, mean over {self._count()}{band}."
        return (
            f"Each point is the moving {word} over {self.window} of {self.steps} optimizer steps, "
            f"averaged over {self._count()}{band}."
        )

    def _count(self) -> str:
        return "one seed" if self.seeds == 1 else f"{self.seeds} seeds"


def read_history(folders: Sequence[Path]) -> History | None:
    """Read the records of runs that differ in their seed; None without any."""
    runs = [_read(folder / "modulation.csv") for folder in folders]
    runs = [run for run in runs if run]
    if not runs:
        return None
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    length = min(len(run[key]) for run in runs for key in keys)
    values = {key: np.stack([run[key][:length] for run in runs]) for key in keys}
    modalities = list(dict.fromkeys(name for name, _ in keys if name != FUSION))
    return History(modalities, values, len(runs))


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over a window around each value, shorter at the ends, of the values that are finite.

    >>> moving_mean(np.array([1.0, 2.0, 6.0, np.nan]), 3)
    array([1.5, 3. , 4. , 6. ])
    """
    known = np.isfinite(values)
    total, count = (
        uniform_filter1d(x, window, mode="constant")
        for x in (np.where(known, values, 0.0), known.astype(float))
    )
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 1e-9)


def moving_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over a window around each value; the ends see themselves mirrored."""
    return median_filter(values, size=window, mode="reflect")


def _read(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """(modality, quantity) to one value per step; what was never recorded is left out."""
    if not path.is_file():
        return {}
    found: dict[tuple[str, str], list[float]] = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if name not in ("epoch", "iteration", "modality"):
                    value = float(text) if text else float("nan")
                    found.setdefault((row["modality"], name), []).append(value)
    return {key: np.array(v) for key, v in found.items() if np.isfinite(v).any()}
