"""Classification or regression with and without CGGM, on real stand-ins or generated features."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from ....data.extras import optional
from ....data.features.feature_set import open_feature_set
from ....data.files import write_text
from .steps import content, draw_curves, run, shared, table, train

# Bundle to the real data that stand in for the paper's, and what the training is told about them.
_SMALL = ("--batch_size", "32", "--epochs", "30", "--lr_step", "20")  # a few hundred samples
STAND_INS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "food101": ("foods", _SMALL),
    "iemocap": ("stamps", _SMALL),
    "mosi": ("emoji", (*_SMALL, "--modalities", "['text','vision']", "--limits", "$None")),
}
MODALITIES = {
    "food101": ("image", "text"),
    "iemocap": ("text", "audio", "vision"),
    "mosi": ("text", "audio", "vision"),
}
FIGURES = ("accuracy", "f1_weighted", "f1_macro", "mae", "corr", "acc7", "acc2_negative_positive")
SHARED = ("--limits", "--cache_dir", "--dataset_dir")
SHOWN = 12


def demonstrate(bundle: Path, folder: Path, overrides: list[str]) -> Path:
    """Run all steps, then write ``report.md`` with its pictures; give its path."""
    data, modalities = fetch(bundle.name, folder.parent / "stand_ins")
    settings = [*data, *overrides]
    rest = shared(settings, SHARED)
    seconds: dict[str, float | None] = {}
    for method in ("cggm", "joint"):
        seconds[method] = train(bundle, folder / method, method, settings)
    for name in modalities:
        alone = without(settings, "--modalities")
        words = [*alone, "--modalities", f"['{name}']"]
        seconds[name] = train(bundle, folder / name, "joint", words)
    for name in seconds:
        run(bundle / "evaluate.json", folder / name, rest)
    run(bundle / "inference.json", folder / "cggm", shared(settings, ("--dataset_dir",)))
    draw_curves(folder / "curves.png", folder / "cggm" / "modulation.csv", "larger is better")
    write_text(folder / "report.md", report(folder, bundle.name, seconds))
    return folder / "report.md"


def fetch(bundle: str, folder: Path) -> tuple[list[str], Sequence[str]]:
    """Get the real data that stand in for those of a bundle.

    Returns:
        What the training is told, and the modalities; where a client or a package is missing, it
        says so and goes on with the generated features.
    """
    name, settings = STAND_INS[bundle]
    try:
        optional("transformers", "research", "the real data sets")
        from ..stand_ins.prepare import prepare  # transformers takes seconds to load

        made = prepare(name, folder)
        modalities = [m for m in MODALITIES[bundle] if m in open_feature_set(made).modalities]
    except InputError as error:
        print(f"{error}\nGoing on with the generated features instead.", file=sys.stderr)
        return [], MODALITIES[bundle]
    return ["--dataset_dir", str(made), *settings], modalities


def without(words: Sequence[str], name: str) -> list[str]:
    """Leave an option and its value out of a command."""
    pairs = zip(words[::2], words[1::2], strict=False)
    return [word for pair in pairs if pair[0] != name for word in pair]


def report(folder: Path, bundle: str, seconds: Mapping[str, float | None]) -> str:
    """The report as Markdown."""
    results = {name: content(folder / name / "evaluation" / "evaluation.json") for name in seconds}
    first = results["cggm"]
    generated = "generated" in first["data"]
    warning = (
        "Figures on generated features say that the program works, and nothing about real data."
        if generated
        else f"These are real data, but not those of the paper: no figure compares with {bundle}'s."
    )
    lines = [
        f"# Demonstration: the {bundle} bundle",
        "",
        f"Data: **{first['data']}**, {first['samples']} test samples that no training saw. "
        + warning,
        "",
        *figures_table(results, seconds),
        "",
        "One run each, with the same seed and budget, and the weights of the epoch with the best "
        "validation. In brackets the 95 % interval over the test samples; methods whose intervals "
        "overlap are not told apart by one run.",
        "",
        "## What CGGM did to each modality",
        "",
        "![score and balance of each modality during training](curves.png)",
        "",
        "## Predictions",
        "",
        f"![predictions and truth](cggm/evaluation/{_picture(folder)})",
        "",
        *samples_table(table(folder / "cggm" / "evaluation" / "samples.csv")),
        "",
    ]
    return "\n".join(lines)


def figures_table(
    results: Mapping[str, dict[str, Any]], seconds: Mapping[str, float | None]
) -> list[str]:
    """A row per training, a column per figure."""
    known = results["cggm"]["figures"]
    names = [name for name in FIGURES if name in known]
    lines = [
        f"| training | {' | '.join(names)} | seconds |",
        "|---|" + "---:|" * (len(names) + 1),
    ]
    for run_name, result in results.items():
        cells = [_cell(result["figures"].get(name)) for name in names]
        took = seconds[run_name]
        label = run_name if run_name in ("cggm", "joint") else f"{run_name} only"
        lines.append(
            f"| {label} | {' | '.join(cells)} | {'–' if took is None else f'{took:.0f}'} |"
        )
    return lines


def samples_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The first predictions."""
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(row[c] for c in columns)} |" for row in rows[:SHOWN]]
    return lines


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    digits = 1 if figure["unit"] == "percent" else 3
    text = f"{figure['value']:.{digits}f}"
    interval = figure.get("interval_95")
    if not interval:
        return text
    low, high = (f"{limit:.{digits}f}" for limit in interval)
    return f"{text} ({low} to {high})"


def _picture(folder: Path) -> str:
    names = ("confusion.png", "scatter.png")
    return next(n for n in names if (folder / "cggm" / "evaluation" / n).is_file())
