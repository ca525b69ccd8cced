"""Quantities over the steps of a training, read from the records of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ....data.errors import InputError
from ...handlers.modulation import FUSION
from ...handlers.recorder import QUANTITIES

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

    def points(self) -> list[dict[str, float | None]]:
        """What is drawn, for a CSV file; a spread that is not known is left empty."""
        spread = [None] * len(self.steps) if self.sd is None else self.sd.tolist()
        return [
            {"step": step, "mean": mean, "sd": sd}
            for step, mean, sd in zip(self.steps.tolist(), self.mean.tolist(), spread, strict=True)
        ]


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
        values = [v[np.isfinite(v)] for (_, name), v in self.values.items() if name == quantity]
        return float(max((np.abs(v).max() for v in values if v.size), default=0.0))

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
        shown = np.unique(np.linspace(0, self.steps - 1, min(POINTS, self.steps)).astype(int))
        lines = np.stack([smoothed(row, self.window, shown, robust=robust) for row in values])
        sd = lines.std(0, ddof=1) if len(lines) > 1 else None
        return Curve(shown + 1, lines.mean(0), sd)

    def smoothing(self, word: str = "mean") -> str:
        """A sentence on what a reader sees."""
        band = f"; band: ± 1 standard deviation over {self.seeds} seeds" if self.seeds > 1 else ""
        if self.window == 1:
            return f"One point per optimizer step, {self._seeds()}{band}."
        return (
            f"Each point is the moving {word} over {self.window} of {self.steps} optimizer steps, "
            f"{self._seeds()}{band}."
        )

    def _seeds(self) -> str:
        return "of one seed" if self.seeds == 1 else f"averaged over {self.seeds} seeds"


def read_history(folders: Sequence[Path]) -> History | None:
    """Read the records of runs that differ in their seed; None without any.

    Raises:
        InputError: a record is damaged.
    """
    runs = [_read(folder / "modulation.csv") for folder in folders]
    runs = [run for run in runs if run]
    keys = [key for key in runs[0] if all(key in run for run in runs)] if runs else []
    if not keys:
        return None
    length = min(len(run[key]) for run in runs for key in keys)
    values = {key: np.stack([run[key][:length] for run in runs]) for key in keys}
    modalities = list(dict.fromkeys(name for name, _ in keys if name != FUSION))
    return History(modalities, values, len(runs))


def smoothed(
    values: np.ndarray, window: int, at: np.ndarray, *, robust: bool = False
) -> np.ndarray:
    """Mean (or median) over a window around some places, shorter at the ends.

    Values that are not finite are left out; NaN where there is no other.

    Args:
        values: shape (N,).
        window: an odd number of values.
        at: places, shape (P,); a long record is drawn in few of its points.
        robust: take the median.

    >>> smoothed(np.array([1.0, 2.0, 6.0, np.nan]), 3, np.arange(4))
    array([1.5, 3. , 4. , 6. ])
    """
    finite = pd.Series(values, dtype=float).where(np.isfinite(values))
    window_around = finite.rolling(window, center=True, min_periods=1)
    return (window_around.median() if robust else window_around.mean()).to_numpy()[at]


def _read(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """(modality, quantity) to one value per step; what was never recorded is left out."""
    if not path.is_file():
        return {}
    numbers = dict.fromkeys(QUANTITIES, float)
    try:
        lines = pd.read_csv(path, usecols=["modality", *QUANTITIES], dtype=numbers)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove the folder of this run to have it done again"
        ) from error
    return {
        (str(modality), quantity): values[quantity].to_numpy()
        for modality, values in lines.groupby("modality", sort=False)
        for quantity in QUANTITIES
        if np.isfinite(values[quantity]).any()
    }
