"""Tumor segmentation with and without CGGM, on the embedded synthetic cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....data.brats.conventions import REGIONS
from ....data.files import write_text
from .steps import content, draw_curves, run, shared, table, train

METHODS = ("cggm", "joint")
SHARED = ("--dataset_dir", "--cache_dir")  # the file beside the weights says the rest


def demonstrate(bundle: Path, folder: Path, overrides: list[str]) -> Path:
    """Run all steps, then write ``report.md`` with its pictures; give its path."""
    seconds = {}
    for method in METHODS:
        seconds[method] = train(bundle, folder / method, method, overrides)
        run(bundle / "evaluate.json", folder / method, last_epoch(folder / method, overrides))
    run(bundle / "inference.json", folder / "cggm", last_epoch(folder / "cggm", overrides))
    draw_curves(folder / "curves.png", folder / "cggm" / "modulation.csv", "Dice")
    write_text(folder / "report.md", report(folder, seconds))
    return folder / "report.md"


def last_epoch(folder: Path, overrides: list[str]) -> list[str]:
    """What evaluation and inference are told: the weights of the last epoch.

    Not those of the best epoch, `model.pt`: on the handful of embedded validation cases one case
    without enhancing tumor decides which epoch that is.
    """
    return ["--ckpt_path", str(folder / "models" / "last.pt"), *shared(overrides, SHARED)]


def report(folder: Path, seconds: dict[str, float | None]) -> str:
    """The report as Markdown."""
    results = {m: content(folder / m / "evaluation" / "evaluation.json") for m in METHODS}
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
    for row in table(folder / "cggm" / "volumes.csv"):
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
