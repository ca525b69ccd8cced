"""The demonstration behind `make demo`: train with and without CGGM, compare, draw, report.

Everything runs through the bundle's own commands, on the embedded synthetic cases, and each step
is skipped that an earlier run finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..data.conventions import REGIONS
from ..data.files import write_atomically, write_text

METHODS = ("cggm", "joint")
# Okabe and Ito's palette, in the order of the sequences.
LINES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def main() -> None:
    """Run all steps, then write ``report.md`` with its pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output_dir", default="output/demo", help="where everything goes")
    parser.add_argument("--bundle", default="bundles/brats", help="the bundle's folder")
    known, overrides = parser.parse_known_args()
    folder, bundle = Path(known.output_dir), Path(known.bundle)
    seconds = {}
    for method in METHODS:
        seconds[method] = train(bundle, folder / method, method, overrides)
        run(bundle / "evaluate.json", folder / method, last_epoch(folder / method, overrides))
    run(bundle / "inference.json", folder / "cggm", last_epoch(folder / "cggm", overrides))
    draw_curves(folder / "curves.png", folder / "cggm" / "modulation.csv")
    write_text(folder / "report.md", report(folder, seconds))
    print(f"report: {folder / 'report.md'}")


def train(bundle: Path, folder: Path, method: str, overrides: list[str]) -> float | None:
    """Train with one method unless it is trained already; return the seconds it took."""
    timing = folder / "seconds.json"
    if timing.is_file() and (folder / "models" / "model.pt").is_file():
        print(f"{method}: trained already in {folder}", flush=True)
        return json.loads(timing.read_text())
    began = time.monotonic()
    resume = ["--resume"] if (folder / "models" / "last.pt").is_file() else []
    run(bundle / "train.json", folder, ["--method", method, *resume, *overrides])
    took = round(time.monotonic() - began, 1)
    write_text(timing, json.dumps(took))
    return took


def run(config: Path, folder: Path, overrides: list[str]) -> None:
    """Run a configuration of the bundle as a user would; stop where it fails."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += ["--output_dir", str(folder), *overrides]
    print(f"\n$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def last_epoch(folder: Path, overrides: list[str]) -> list[str]:
    """What evaluation and inference are told: the weights of the last epoch.

    Not those of the best epoch, `model.pt`: on the handful of embedded validation cases one case
    without enhancing tumor decides which epoch that is.
    """
    return ["--ckpt_path", str(folder / "models" / "last.pt"), *shared(overrides)]


def shared(overrides: list[str]) -> list[str]:
    """Of the overrides, given as ``--name value``, those that evaluation and inference have too."""
    names = ("--encoder", "--channels", "--rates", "--sequences", "--dataset_dir", "--cache_dir")
    pairs = zip(overrides[::2], overrides[1::2], strict=False)
    return [word for pair in pairs if pair[0] in names for word in pair]


def report(folder: Path, seconds: dict[str, float | None]) -> str:
    """The report as Markdown."""
    results = {m: _json(folder / m / "evaluation" / "evaluation.json") for m in METHODS}
    first = results[METHODS[0]]
    lines = [
        "# Demonstration: four-sequence tumor segmentation with CGGM",
        "",
        f"Data: **{first['data']}**, {first['patients']} test cases that no training saw. Figures "
        "on synthetic cases say that the program works; they say nothing about patients.",
        "",
    ]
    for protocol in ("volumetric", "tumor_slices"):
        name, _, what = first[protocol]["what"].partition(": ")
        lines += ["", f"## Dice in percent, {name}", "", f"{what}.", ""]
        lines += _table(results, protocol, seconds)
    lines += [
        "",
        "One run each, with the same seed, data order and budget, and the weights of the last "
        "epoch: five validation cases are too few to choose an epoch by. One run of ten test cases "
        "cannot tell apart methods whose intervals overlap.",
        "",
        "## What CGGM did to each sequence",
        "",
        "![score and balance of each sequence during training](curves.png)",
        "",
        "## Test cases",
        "",
    ]
    for row in _rows(folder / "cggm" / "volumes.csv"):
        dice = ", ".join(f"{region} {row[f'{region}_dice']}" for region in REGIONS)
        lines += [f"**{row['case']}** Dice {dice}", ""]
        lines += [f"![{row['case']}](cggm/overlays/{row['case']}.png)", ""]
    lines += ["Research use only.", ""]
    return "\n".join(lines)


def _table(
    results: dict[str, dict[str, Any]], protocol: str, seconds: dict[str, float | None]
) -> list[str]:
    names = [*REGIONS, "mean"]
    lines = [
        f"| method | {' | '.join(names)} | 95 % interval of the mean | training |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for method, result in results.items():
        part = result[protocol]
        cells = [f"{part[name]['mean']:.1f}" for name in names]
        interval = part["mean"]["interval_95"]
        cells.append("–" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}")
        took = seconds[method]
        cells.append("–" if took is None else f"{took:.0f} s")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def draw_curves(path: Path, record: Path) -> None:
    """Plot each sequence's score and balance over training, averaged over each epoch."""
    rows = _rows(record)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    titles = {"score": "score of the classifier (Dice)", "balance": "balance (eq. 7)"}
    for axis, (quantity, title) in zip(axes, titles.items(), strict=True):
        for modality, color in zip(modalities, LINES, strict=False):
            epochs, means = _epoch_means(rows, modality, quantity)
            axis.plot(epochs, means, color=color, label=modality, linewidth=1.8)
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[1].axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes[0].legend(frameon=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def _epoch_means(
    rows: list[dict[str, str]], modality: str, quantity: str
) -> tuple[list[int], list[float]]:
    values: dict[int, list[float]] = {}
    for row in rows:
        if row["modality"] == modality and row[quantity]:
            values.setdefault(int(row["epoch"]), []).append(float(row[quantity]))
    return list(values), [sum(v) / len(v) for v in values.values()]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
