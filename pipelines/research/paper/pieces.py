"""The paper's tables and figures, made of finished runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...handlers.gradient_recorder import FILE as GRADIENTS_FILE
from ..experiments.bundles import open_bundle
from ..experiments.run import Run
from ..report.ablation_table import LABELS, ablation_table
from ..report.captions import missing_lines
from ..report.classifier_table import classifier_table
from ..report.collect import DataSet, Row
from ..report.gradient_figure import gradient_figure, read_gradients
from ..report.line_figures import balance_figure, loss_figure, training_figure
from ..report.memory_table import memory_table
from ..report.pieces import FigurePiece, MissingPiece, Piece, TablePiece
from ..report.recipe_table import recipe_table
from ..report.sweep_figure import SWEEPS, sweep_figure
from ..report.tables import build, numbers
from .budgets import BUNDLES
from .finished import FinishedRuns, read_finished
from .needs import ABLATION, GRADIENTS

AnyPiece = TypeVar("AnyPiece", TablePiece, FigurePiece)
Maker = Callable[[str, DataSet, FinishedRuns], Piece | None]

TITLES = {
    "table2": "Comparison on Food 101",
    "table3": "Comparison on BraTS",
    "table4_mosi": "Comparison on MOSI",
    "table4_iemocap": "Comparison on IEMOCAP",
    "table5": "Single modalities after training",
    "table6": "Gradient magnitude and direction",
    "table8": "Memory with and without classifiers, and time",
    "figure2": "Score, gradient magnitude and direction with joint",
    "figure3": "Score, gradient magnitude and direction with cggm",
    "figure4": "Gradients of the classifiers and of single modalities",
    "figure5": "CGGM against joint training with other ρ and λ",
    "figure6": "Losses during training",
    "figure7": "Balancing term",
}
# Table or figure to the data that the paper shows.
OF_PAPER = {
    "table5": "iemocap",
    **dict.fromkeys(("figure2", "figure3", "figure6", "figure7"), "mosi"),
}


def pieces(items: Sequence[str], runs: Sequence[Run], output: Path, benchmark: Path) -> list[Piece]:
    """Make tables and figures, in the paper's order.

    Args:
        items: such as "table2" and "figure5".
        runs: the plan.
        output: folder of the runs.
        benchmark: what :func:`.costs.measure` wrote, for Table 8.

    Raises:
        InputError: records cannot be read.
    """
    finished = read_finished(runs, output)
    makers: dict[str, Callable[[], list[Piece]]] = {
        "table2": partial(_comparison, finished, {"table2": "food101"}),
        "table3": partial(_comparison, finished, {"table3": "brats"}),
        "table4": partial(_comparison, finished, {f"table4_{d}": d for d in ("mosi", "iemocap")}),
        "table5": partial(_on_all_data, finished, "table5", _classifiers),
        "table6": partial(_ablation, finished),
        "table7": lambda: [recipe_table("table7")],
        "table8": partial(_memory, benchmark),
        "figure2": partial(_on_all_data, finished, "figure2", partial(_training, "joint")),
        "figure3": partial(_on_all_data, finished, "figure3", partial(_training, "cggm")),
        "figure4": partial(_gradients, finished),
        "figure5": partial(_sweeps, finished),
        "figure6": partial(_on_all_data, finished, "figure6", _losses),
        "figure7": partial(_on_all_data, finished, "figure7", _balance),
    }
    return [piece for item in items for piece in makers[item]()]


def _comparison(finished: FinishedRuns, names: dict[str, str]) -> list[Piece]:
    made: list[Piece] = []
    for name, label in names.items():
        if label in finished.sets:
            data = finished.sets[label]
            made.append(TablePiece(name, build(data), numbers(data)))
        else:
            made.append(_missing(name, finished, label))
    return made


def _on_all_data(finished: FinishedRuns, name: str, make: Maker) -> list[Piece]:
    """For the paper's data under the plain name, and for all others that were trained on."""
    first = OF_PAPER[name]
    made: list[Piece] = []
    for data in (first, *(bundle for bundle in BUNDLES if bundle != first)):
        own = name if data == first else f"{name}-{data}"
        piece = make(own, finished.sets[data], finished) if data in finished.sets else None
        if piece is not None:
            made.append(piece)
        elif data == first:
            made.append(_missing(own, finished, data))
    return made


def _classifiers(name: str, data: DataSet, finished: FinishedRuns) -> Piece | None:
    measured = finished.classifiers(data.label)
    if not any(measured.values()):
        return None
    alone = [f"{modality} only" for modality in open_bundle(data.bundle).modalities]
    missing = finished.missing(data.label, "unimodal", *alone, *measured)
    return _with_missing(missing, classifier_table(name, data, measured))


def _training(row: str, name: str, data: DataSet, finished: FinishedRuns) -> Piece | None:
    history = finished.history(data.label, row)
    if history is None:
        return None
    score = finished.score(data.label, row)
    return _with_missing(
        finished.missing(data.label, row), training_figure(name, data, row, history, score)
    )


def _losses(name: str, data: DataSet, finished: FinishedRuns) -> Piece | None:
    rows = ("joint", "cggm")
    histories = {
        row: read for row in rows if (read := finished.history(data.label, row)) is not None
    }
    if not histories:
        return None
    return _with_missing(finished.missing(data.label, *rows), loss_figure(name, data, histories))


def _balance(name: str, data: DataSet, finished: FinishedRuns) -> Piece | None:
    history = finished.history(data.label, "cggm")
    if history is None:
        return None
    return _with_missing(
        finished.missing(data.label, "cggm"), balance_figure(name, data, "cggm", history)
    )


def _ablation(finished: FinishedRuns) -> list[Piece]:
    label = f"iemocap {ABLATION}"
    rows = {row.label: row for row in _rows(finished, label)}
    base = finished.sets.get("iemocap")
    if base is not None and base.joint is not None:
        rows["joint"] = base.joint
    data = base or finished.sets.get(label)
    if data is None or not rows:
        return [_missing("table6", finished, "iemocap", label)]
    ordered = {key: rows[key] for key in LABELS if key in rows}
    missing = [*finished.missing("iemocap", "joint"), *finished.missing(label)]
    return [_with_missing(missing, ablation_table("table6", data, ordered))]


def _sweeps(finished: FinishedRuns) -> list[Piece]:
    base = finished.sets.get("iemocap")
    labels = {setting: f"iemocap {word}" for setting, word in SWEEPS.items()}
    sweeps = {s: rows for s, label in labels.items() if (rows := _rows(finished, label))}
    if base is None or base.joint is None or not sweeps:
        return [_missing("figure5", finished, "iemocap", *labels.values())]
    missing = [state for label in labels.values() for state in finished.missing(label)]
    missing = [*finished.missing("iemocap", "joint"), *missing]
    return [_with_missing(missing, sweep_figure("figure5", base, sweeps, base.joint))]


def _gradients(finished: FinishedRuns) -> list[Piece]:
    labels = {bundle: f"{bundle} {GRADIENTS}" for bundle in BUNDLES}
    files = {
        bundle: folder / GRADIENTS_FILE
        for bundle, label in labels.items()
        for folder in finished.folders(label, "cggm")
        if (folder / GRADIENTS_FILE).is_file()
    }
    if not files:
        return [_missing("figure4", finished, *labels.values())]
    read = {
        bundle: (finished.sets[labels[bundle]].name, read_gradients(path))
        for bundle, path in files.items()
    }
    missing = [
        f"{bundle}, {state}"
        for bundle, label in labels.items()
        for state in finished.missing(label)
    ]
    return [_with_missing(missing, gradient_figure("figure4", read, "cggm"))]


def _memory(benchmark: Path) -> list[Piece]:
    if not benchmark.is_file():
        reason = (
            "Missing, since it was not measured: run benchmarks/methods.py of the repository when "
            "nothing else is at work, and pass its file as --benchmark."
        )
        return [MissingPiece("table8", TITLES["table8"], reason)]
    return [memory_table("table8", benchmark)]


def _with_missing(missing: Sequence[str], piece: AnyPiece) -> AnyPiece:
    """The same with a sentence on runs that are not finished."""
    if isinstance(piece, FigurePiece):
        return replace(piece, caption=[*piece.caption, *missing_lines(missing, "figure")])
    caption = [*piece.table.caption, *missing_lines(missing, "table")]
    return replace(piece, table=replace(piece.table, caption=caption))


def _rows(finished: FinishedRuns, label: str) -> list[Row]:
    return finished.sets[label].rows if label in finished.sets else []


def _missing(name: str, finished: FinishedRuns, *labels: str) -> MissingPiece:
    """Say why: runs were not planned, are not finished, or recorded nothing of it."""
    planned = {run.data for run in finished.runs}
    missing = {label: finished.missing(label) for label in labels}
    lines = [f"{label}: {'; '.join(states)}" for label, states in missing.items() if states]
    if lines:
        reason = f"runs are not finished. {' – '.join(lines)}"
    elif planned.isdisjoint(labels):
        reason = f"nothing was trained on {', '.join(labels)}"
    else:
        reason = f"the finished runs on {', '.join(labels)} left no records of it"
    return MissingPiece(name, TITLES[name], f"Missing, since {reason}.")
