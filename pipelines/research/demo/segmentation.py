"""Tumor segmentation from any subset of sequences: the bundle's default beside joint training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....data import open_cases
from ....data.brats.cases import Case
from ....data.files import write_text
from ...balancing.modality_dropout import subset_warning
from ...segmentation import Segmenter
from ..report.formats import html
from ..report.pieces import Piece
from .curves import modality_figure, validation_figure
from .masks import mask_figure
from .steps import content, run, shared, shown, table, train
from .subset_tables import arm_of, headline, prepared_table, subset_table, views

# Folder of each training, and its settings; the first is what the bundle does by itself, with
# the scores of each sequence for a figure.
TRAININGS: Mapping[str, Mapping[str, str]] = {
    "default": {"score_modalities": "True"},
    "joint": {"method": "joint", "modality_dropout": "0"},
}
SHORT = {"epochs": "30"}  # so that both end within 20 minutes on two cores
# What evaluation is told too; the file beside the weights says the rest.
DATA = ("dataset_dir", "cache_dir", "layout", "label_convention")
PICTURED = 3  # cases
PURPOSE = (
    "A hospital does not always have all sequences. With modality dropout a network is trained on "
    "random subsets of them too, without it on all of them only."
)
MEASURED = (
    "Volumetric Dice in percent after the last epoch, mean over test cases; in brackets the 95 % "
    "interval of a bootstrap over patients.",
    "A region that is empty in truth and prediction counts as 100.",
)
SHORTENED = (
    f"{SHORT['epochs']} epochs are fewer than the 40 of the bundle, so that all ends within 20 "
    "minutes. The table over several seeds is of networks with all of them; --epochs 40 trains so."
)
SYNTHETIC = (
    "These cases are synthetic: what stands here shows that the program works, and says nothing "
    "about patients."
)


@dataclass(frozen=True)
class Trained:
    """One of the trainings, with what came of it.

    Attributes:
        label: its method, and whether sequences were dropped.
        seconds: that it took.
        segmenter: the network after the last epoch.
        subsets: content of ``subsets.json``.
        history: rows of ``history.csv``.
    """

    label: str
    seconds: float
    segmenter: Segmenter
    subsets: Mapping[str, Any]
    history: list[dict[str, str]]


def demonstrate(bundle: Path, folder: Path, settings: Mapping[str, str]) -> Path:
    """Run all steps, then write ``report.html``; give its path."""
    seconds = {
        name: train(bundle, folder / name, {**SHORT, **settings, **own})
        for name, own in TRAININGS.items()
    }
    data = shared(settings, DATA)
    for name in TRAININGS:
        run(bundle / "evaluate.json", folder / name, {"subsets": "True", **data})
    trained = [trained_in(folder / name, took) for name, took in seconds.items()]
    tested = content(folder / "default" / "split.json")["test"]
    cases = cases_of(data, trained[0].segmenter.sequences)
    pictured = [case for case in cases if case.name in tested][:PICTURED]
    write_text(folder / "report.html", report(trained, pictured, settings))
    return folder / "report.html"


def trained_in(folder: Path, seconds: float) -> Trained:
    """Read what training and evaluation left in a folder."""
    segmenter = Segmenter.from_folder(folder)
    dropped = any(segmenter.trained["modality_dropout"].values())
    return Trained(
        segmenter.trained["method"] + (" + dropout" if dropped else ""),
        seconds,
        segmenter,
        content(folder / "evaluation" / "subsets.json"),
        table(folder / "history.csv"),
    )


def cases_of(data: Mapping[str, str], sequences: tuple[str, ...]) -> list[Case]:
    """Find the cases of the trainings, sorted by name."""
    return open_cases(
        data.get("dataset_dir"),
        sequences=sequences,
        layout=data.get("layout", "auto"),
        label_convention=data.get("label_convention"),
        cache_dir=data.get("cache_dir"),
    )


def report(trained: list[Trained], cases: list[Case], settings: Mapping[str, str]) -> str:
    """The report as an HTML page.

    Args:
        trained: the default, then the training it is compared with.
        cases: those with pictures.
        settings: what the user gave.
    """
    default = trained[0]
    arms = [arm_of(one.label, one.subsets) for one in trained]
    histories = {one.label: one.history for one in trained}
    segmenters = {one.label: one.segmenter for one in trained}
    sections: list[tuple[str, Piece]] = [
        ("Dice in percent, one seed", subset_table("", [*MEASURED, *warnings(trained)], arms)),
        ("Dice in percent, several seeds", prepared_table()),
        (
            "Validation",
            validation_figure(histories, "validation/dice/mean", "mean Dice, all sequences"),
        ),
        (f"Sequences in training: {default.label}", modality_figure(default.history, "Dice")),
    ]
    sections += [(f"Test case {c.name}", mask_figure(c, segmenters)) for c in cases]
    means = "; ".join(headline(arm) for arm in arms)
    notes = [
        what_was_done(trained),
        f"Mean Dice of the three regions over all subsets: {means}.",
        f"The pictures at the end are of the first {len(cases)} test cases in the order of their "
        "names, whatever came of them.",
        *([] if "epochs" in settings else [SHORTENED]),
        *([f"Settings that were given: {shown(settings)}."] if settings else []),
        "Research use only." if "dataset_dir" in settings else SYNTHETIC,
    ]
    return html("Tumor segmentation from any of the sequences", sections, notes=notes)


def what_was_done(trained: list[Trained]) -> str:
    """A paragraph on data, trainings and evaluation."""
    default, other = trained
    subsets = default.subsets
    return (
        f"{PURPOSE} Two networks were trained on {subsets['data']}, with the same seed, order of "
        f"data and {len(default.history)} epochs: the bundle's default, {default.label} "
        f"({default.seconds:.0f} s), and {other.label} training ({other.seconds:.0f} s). "
        f"Both were tested on {subsets['cases']} cases that no training saw, with each of the "
        f"{len(subsets['subsets'])} subsets of the sequences. One seed and so few cases cannot "
        "tell apart figures whose intervals overlap."
    )


def warnings(trained: list[Trained]) -> list[str]:
    """What inference says of the masks of a network that never saw a subset."""
    sentences = []
    for one in trained:
        smallest = list(views(one.segmenter.sequences).values())[-1]
        warning = subset_warning(one.segmenter.trained, smallest)
        if warning is not None:
            sentences.append(f"What inference says of masks by {one.label}: “{warning}”.")
    return sentences
