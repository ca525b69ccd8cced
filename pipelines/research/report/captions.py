"""The sentences below a comparison: what its reader has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .collect import SECONDS, DataSet, Kind
from .measured import figures_of, is_extension
from .published import comparison_of
from .recipe import ONLY

RULE = (
    "Every run tests the weights of the epoch with the best validation, by the same rule for all "
    "methods; the test part was used once per run and for no choice."
)
ALONE_TOGETHER = (
    "Rows of single modalities: networks trained side by side, from the epoch in which their "
    "averaged predictions were best on validation."
)
DIFFERENCE = (
    "Difference to joint: mean over the seeds of both, in brackets its 95 % interval, p of the "
    "paired t-test, corrected for the number of methods by Holm; neither with fewer than 3 seeds, "
    "or where all differences are equal. They tell methods from the chance of a seed, with the "
    "same samples tested."
)
TIME = (
    "Training time: relative to joint, with the start of the program, as measured beside other "
    "runs."
)
VOLUME = "Volume: Dice of a patient's whole volume, mean over patients."
SLICES = (
    "Slices: Dice of each slice with tumor, mean over a patient's slices, then over patients; "
    "near to what the paper measures."
)


def caption(data: DataSet) -> list[str]:
    """Sentences below the table of a data set."""
    figures = figures_of(data)
    said = {
        VOLUME: any(name.startswith("volumetric/") for name in figures),
        SLICES: any(name.startswith("tumor_slices/") for name in figures),
        ALONE_TOGETHER: any(r.kind == Kind.ALONE and r.method == "unimodal" for r in data.rows),
        DIFFERENCE: data.is_compared,
        TIME: data.joint is not None and not data.joint.values(SECONDS).empty,
        "Bold: best, underlined: second best of a column.": len(data.rows) > 1,
        "†: ours, or an extension of ours: its paper has no such task or fewer modalities.": any(
            is_extension(row, data) for row in data.rows
        ),
    }
    return [
        f"Data: {data.name}, {data.samples} tested, the same for all runs; bundle {data.bundle}.",
        *generated_line(data),
        *_seeds_lines(data),
        RULE,
        *(sentence for sentence, holds in said.items() if holds),
        *_paper_line(data),
        _settings_line(data),
        *_own_lines(data),
        _versions_line(data),
        *missing_lines(data.missing, "table"),
    ]


def generated_line(data: DataSet) -> list[str]:
    """A sentence where no real data were used, else nothing."""
    if "generated" in data.name or "synthetic" in data.name:
        return ["These data are generated: the figures say nothing about real data."]
    return []


def missing_lines(missing: Sequence[str], place: str) -> list[str]:
    """A sentence where runs are not finished, else nothing.

    Args:
        missing: those runs, in words.
        place: "table" or "figure".
    """
    return [f"Not in the {place}: {'; '.join(missing)}."] if missing else []


def _seeds_lines(data: DataSet) -> list[str]:
    most = max(len(row.runs) for row in data.rows)
    if most == 1:
        return ["One seed: nothing is known of the spread."]
    lines = [f"Mean ± standard deviation over up to {most} seeds."]
    shown = [row.runs[[name for name in figures_of(data) if name in row.runs]] for row in data.rows]
    if any(runs.isna().any(axis=None) for runs in shown):
        lines.append('"2 of 3": in the other runs this figure is undefined.')
    return lines


def _paper_line(data: DataSet) -> list[str]:
    table = comparison_of(data.name)
    if table is None:
        return []
    number = table.removeprefix("table").partition("_")[0]
    return [f"Paper: Table {number} of the CGGM paper{ONLY}"]


def _settings_line(data: DataSet) -> str:
    kinds: list[Mapping[str, Any]] = []
    for settings in data.settings.values():
        kinds += [settings] if settings not in kinds else []
    if len(kinds) == 1:
        return f"Settings for all: {_words(kinds[0])}; the rest is the bundle's."
    each = "; ".join(f"{name}: {_words(settings)}" for name, settings in data.settings.items())
    return f"Runs have DIFFERENT settings, so rows may not be comparable: {each}."


def _own_lines(data: DataSet) -> list[str]:
    own = [f"{row.label}: {row.method} with {_words(row.own)}" for row in data.rows if row.own]
    return [f"{'; '.join(own)}."] if own else []


def _versions_line(data: DataSet) -> str:
    texts = []
    for about in data.versions:
        commit = about.get("commit")
        named = [f"{name} {v}" for name, v in about.items() if name != "commit"]
        changed = " with changes" if commit and commit["changed"] else ""
        named += [f"commit {commit['hash'][:10]}{changed}"] if commit else []
        texts.append(", ".join(named))
    return f"Ran with {'; and with '.join(texts)}."


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "none"
