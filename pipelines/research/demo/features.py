"""Classification or regression with CGGM, joint training and single modalities, on open data."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.image import imread

from ....data.errors import InputError
from ....data.extras import optional
from ....data.features.feature_set import open_feature_set
from ....data.files import write_text
from ..report.formats import html
from ..report.pieces import NONE, Cell, FigurePiece, Piece, Table, TablePiece
from .curves import modality_figure
from .steps import content, run, shared, table, train

# Bundle to the real data that stand in for the paper's, and what the training is told about them.
_SMALL = {"batch_size": "32", "epochs": "30", "lr_step": "20"}  # a few hundred samples
STAND_INS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "food101": ("foods", _SMALL),
    "iemocap": ("stamps", _SMALL),
    "mosi": ("emoji", {**_SMALL, "modalities": "['text','vision']", "limits": "$None"}),
}
MODALITIES = {
    "food101": ("image", "text"),
    "iemocap": ("text", "audio", "vision"),
    "mosi": ("text", "audio", "vision"),
}
FIGURES = ("accuracy", "f1_weighted", "f1_macro", "mae", "corr", "acc7", "acc2_negative_positive")
SHARED = ("limits", "cache_dir", "dataset_dir")
SHOWN = 12
_DPI = 150


def demonstrate(bundle: Path, folder: Path, settings: Mapping[str, str]) -> Path:
    """Run all steps, then write ``report.html``; give its path."""
    data, modalities = fetch(bundle.name, folder.parent / "stand_ins")
    settings = {**data, **settings}
    rest = shared(settings, SHARED)
    runs = {method: {"method": method} for method in ("cggm", "joint")}
    runs |= {m: {"method": "joint", "modalities": f"['{m}']"} for m in modalities}
    seconds = {
        name: train(bundle, folder / name, {**settings, **own}) for name, own in runs.items()
    }
    for name in runs:
        run(bundle / "evaluate.json", folder / name, rest)
    write_text(folder / "report.html", report(folder, bundle.name, seconds))
    return folder / "report.html"


def fetch(bundle: str, folder: Path) -> tuple[Mapping[str, str], Sequence[str]]:
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
        return {}, MODALITIES[bundle]
    return {"dataset_dir": str(made), **settings}, modalities


def report(folder: Path, bundle: str, seconds: Mapping[str, float]) -> str:
    """The report as an HTML page."""
    results = {name: content(folder / name / "evaluation" / "evaluation.json") for name in seconds}
    data, samples = (results["cggm"][key] for key in ("data", "samples"))
    warning = (
        "Figures on generated features say that the program works, and nothing about real data."
        if "generated" in data
        else f"These are real data, but not those of the paper: no figure compares with {bundle}'s."
    )
    notes = [
        f"The bundle {bundle} was trained with CGGM, with joint training, and on each modality "
        f"alone, with the same seed and budget, on {data}; {samples} test samples that no training "
        f"saw. {warning}"
    ]
    evaluated = folder / "cggm" / "evaluation"
    history = table(folder / "cggm" / "history.csv")
    sections: list[tuple[str, Piece]] = [
        ("Results", figures_table(results, seconds)),
        ("Modalities in training with CGGM", modality_figure(history, "larger is better")),
        ("Predictions and truth with CGGM", picture(evaluated)),
        (f"The first {SHOWN} test samples", samples_table(table(evaluated / "samples.csv"))),
    ]
    return html(f"Demonstration: the {bundle} bundle", sections, notes=notes)


def figures_table(
    results: Mapping[str, dict[str, Any]], seconds: Mapping[str, float]
) -> TablePiece:
    """A row per training, a column per figure."""
    known = results["cggm"]["figures"]
    names = [name for name in FIGURES if name in known]
    rows = []
    for run_name, result in results.items():
        label = run_name if run_name in ("cggm", "joint") else f"{run_name} only"
        cells = [_cell(result["figures"].get(name)) for name in names]
        rows.append([Cell(label), *cells, Cell(f"{seconds[run_name]:.0f}")])
    caption = [
        "One run each, and the weights of the epoch with the best validation. In brackets the 95 % "
        "interval over the test samples; one run does not tell apart methods whose intervals "
        "overlap."
    ]
    return TablePiece("", Table("Results", caption, ["training", *names, "seconds"], rows), [])


def samples_table(rows: Sequence[Mapping[str, str]]) -> TablePiece:
    """The first predictions."""
    cells = [[Cell(value) for value in row.values()] for row in rows[:SHOWN]]
    return TablePiece("", Table("Test samples", [], list(rows[0]), cells), [])


def picture(folder: Path) -> FigurePiece:
    """The picture that an evaluation left."""
    names = ("confusion.png", "scatter.png")
    pixels = imread(next(folder / name for name in names if (folder / name).is_file()))
    height, width = (side / _DPI for side in pixels.shape[:2])
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.figimage(pixels)
    return FigurePiece("", "Predictions and truth", [], figure)


def _cell(figure: Mapping[str, Any] | None) -> Cell:
    if figure is None or figure["value"] is None:
        return NONE
    digits = 1 if figure["unit"] == "percent" else 3
    text = f"{figure['value']:.{digits}f}"
    if figure.get("interval_95"):
        low, high = (f"{limit:.{digits}f}" for limit in figure["interval_95"])
        text += f"\n[{low}, {high}]"
    return Cell(text)
