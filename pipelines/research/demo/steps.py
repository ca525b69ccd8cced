"""Steps that demonstrations share: a bundle's commands as a user runs them, and its curves."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ....data.colors import LINES
from ....data.files import write_atomically, write_text


def train(bundle: Path, folder: Path, method: str, overrides: Sequence[str]) -> float | None:
    """Train with one method unless it is trained already; return the seconds it took."""
    timing = folder / "seconds.json"
    if timing.is_file() and (folder / "models" / "model.pt").is_file():
        print(f"{folder.name}: trained already in {folder}", flush=True)
        return json.loads(timing.read_text())
    began = time.monotonic()
    resume = ["--resume"] if (folder / "models" / "last.pt").is_file() else []
    run(bundle / "train.json", folder, ["--method", method, *resume, *overrides])
    took = round(time.monotonic() - began, 1)
    write_text(timing, json.dumps(took))
    return took


def run(config: Path, folder: Path, overrides: Sequence[str]) -> None:
    """Run a configuration of a bundle; stop where it fails."""
    trusted = ["-W", "ignore:parsing config_file"]  # MONAI's warning of foreign configurations
    command = [sys.executable, *trusted, "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += ["--output_dir", str(folder), *overrides]
    print(f"\n$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def shared(overrides: Sequence[str], names: Sequence[str]) -> list[str]:
    """Of the overrides, given as ``--name value``, those that other configurations have too."""
    pairs = zip(overrides[::2], overrides[1::2], strict=False)
    return [word for pair in pairs if pair[0] in names for word in pair]


def draw_curves(path: Path, record: Path, score: str) -> None:
    """Plot each modality's score and balance over training, averaged over each epoch.

    Args:
        path: the PNG file.
        record: a ``modulation.csv``.
        score: what the score of the classifiers is.
    """
    rows = table(record)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    titles = {"score": f"score of the classifier ({score})", "balance": "balance (eq. 7)"}
    for axis, (quantity, title) in zip(axes, titles.items(), strict=True):
        for modality, color in zip(modalities, LINES, strict=False):
            epochs, means = _epoch_means(rows, modality, quantity)
            axis.plot(epochs, means, color=color, label=modality, linewidth=1.8)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    axes[1].axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes[0].legend(frameon=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def content(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text())


def _epoch_means(
    rows: list[dict[str, str]], modality: str, quantity: str
) -> tuple[list[int], list[float]]:
    values: dict[int, list[float]] = {}
    for row in rows:
        if row["modality"] == modality and row[quantity]:
            values.setdefault(int(row["epoch"]), []).append(float(row[quantity]))
    return list(values), [sum(v) / len(v) for v in values.values()]
