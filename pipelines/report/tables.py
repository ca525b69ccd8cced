"""What stands in each cell of the comparison, and what has the reader to know?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..evaluation.outcomes import LOWER_IS_BETTER, PLAIN
from ..experiments.bundles import open_bundle
from ..methods import CATALOGUE
from .collect import ALONE, OTHER, DataSet, Row
from .published import published
from .statistics import Difference, Summary, difference, holm, summarize

TITLES = {
    "accuracy": "Acc",
    "f1_weighted": "F1",
    "f1_macro": "F1, macro",
    "acc2_nonpositive_positive": "Acc-2",
    "acc7": "Acc-7",
    "f1_nonpositive_positive": "F1",
    "mae": "MAE",
    "corr": "Corr",
    **{f"volumetric/{region}": f"{region}, volume" for region in ("WT", "TC", "ET")},
    "volumetric/mean": "Avg., volume",
    **{f"tumor_slices/{region}": f"{region}, slices" for region in ("WT", "TC", "ET")},
    "tumor_slices/mean": "Avg., slices",
}
RULE = (
    "Every run tests the weights of the epoch with the best validation, by the same rule for all "
    "methods; the test part was used once per run and for no choice."
)


@dataclass(frozen=True)
class Measured:
    """One figure of one row: what it is, how it compares, and what the paper has."""

    row: Row
    figure: str
    summary: Summary
    difference: Difference | None
    p_holm: float | None
    published: float | None
    mark: str  # "best", "second" or ""


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it is the "best" or "second" of its column."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table for any format: the first column is text, all others are numbers."""

    title: str
    caption: list[str]
    head: list[str]
    rows: list[list[Cell]]


def measure(data: DataSet) -> dict[tuple[str, str], Measured]:
    """Everything that is known, by row label and figure."""
    found: dict[tuple[str, str], Measured] = {}
    paper = published(data.name)
    for figure in figures_of(data):
        rows = [row for row in data.rows if figure in row.figures]
        summaries = {row.label: summarize(list(row.figures[figure].values())) for row in rows}
        compared = {row.label: _compared(row, data.joint, figure) for row in rows}
        known = {label: d for label, d in compared.items() if d is not None}
        ps = dict(zip(known, holm([d.p for d in known.values()]), strict=True))
        means = {label: s.mean for label, s in summaries.items() if s is not None}
        marks = marks_of(means, figure)
        for row in rows:
            summary = summaries[row.label]
            assert summary is not None  # rows without this figure were left out
            theirs = {} if paper is None else paper[1].get(paper_row(row), {})
            found[row.label, figure] = Measured(
                row,
                figure,
                summary,
                compared[row.label],
                ps.get(row.label),
                theirs.get(figure),
                marks[row.label],
            )
    return found


def build(data: DataSet) -> Table:
    """The comparison as text."""
    found = measure(data)
    joint = data.joint
    head, rows = (
        ["method", "seeds"],
        [[Cell(label_of(r, data)), Cell(_seeds(r))] for r in data.rows],
    )
    for figure in figures_of(data):
        title = TITLES[figure]
        cells = [found.get((row.label, figure)) for row in data.rows]
        head.append(title if figure in PLAIN else f"{title} (%)")
        _extend(rows, [_mean_cell(m) for m in cells])
        if joint is not None and any(row.kind == OTHER for row in data.rows):
            head.append(f"{title}: difference to joint")
            _extend(rows, [_difference_cell(m) for m in cells])
        if any(m is not None and m.published is not None for m in cells):
            head.append(f"{title}, paper")
            _extend(rows, [_paper_cell(m) for m in cells])
    if joint is not None and joint.seconds:
        head.append("training time")
        _extend(rows, [Cell(cost(row, joint)) for row in data.rows])
    return Table(f"{data.label}: {data.name}", caption(data), head, rows)


def figures_of(data: DataSet) -> list[str]:
    """The columns: figures that any row has, in their order."""
    return [name for name in TITLES if any(name in row.figures for row in data.rows)]


def marks_of(means: Mapping[str, float], figure: str) -> dict[str, str]:
    """Which rows are best and second; rows that read the same share the mark."""
    digits = digits_of(figure)
    shown = {label: round(mean, digits) for label, mean in means.items()}
    places = sorted(set(shown.values()), reverse=figure not in LOWER_IS_BETTER)
    marks = dict(zip(places, ("best", "second"), strict=False)) if len(places) > 1 else {}
    return {label: marks.get(value, "") for label, value in shown.items()}


def digits_of(figure: str) -> int:
    """Decimals: shares are in percent."""
    return 3 if figure in PLAIN else 2


def mean_text(found: Summary | None, figure: str) -> str:
    """Mean ± standard deviation, as cells show them."""
    if found is None:
        return "–"
    digits = digits_of(figure)
    spread = "" if found.sd is None else f" ± {found.sd:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread}"


def cost(row: Row, joint: Row) -> str:
    """Training time relative to joint training with the same seeds."""
    ratio = relative_cost(row, joint)
    return "–" if ratio is None else f"{ratio:.2f} ×"


def relative_cost(row: Row, joint: Row) -> float | None:
    """Mean seconds over mean seconds of joint training, over the seeds that both have."""
    seeds = set(row.seconds) & set(joint.seconds)
    below = sum(joint.seconds[seed] for seed in seeds)
    return sum(row.seconds[seed] for seed in seeds) / below if below else None


def is_extension(row: Row, data: DataSet) -> bool:
    """Whether the method's paper has neither this task nor so many modalities."""
    method = CATALOGUE.get(row.method)
    if method is None or row.kind == ALONE:
        return False
    bundle = open_bundle(data.bundle)
    return bool(method.beyond_paper(bundle.task, len(row.modalities or bundle.modalities)))


def label_of(row: Row, data: DataSet) -> str:
    """The row's first cell."""
    return f"{row.label} †" if is_extension(row, data) else row.label


def caption(data: DataSet) -> list[str]:
    """Sentences below the table."""
    lines = [
        f"Data: {data.name}, {data.samples} tested, the same for all runs; bundle {data.bundle}.",
        *generated_line(data),
    ]
    most = max(len(row.seeds) for row in data.rows)
    lines.append(f"Mean ± standard deviation over {_count(most)}. " + RULE)
    if any(row.kind == ALONE and row.method == "unimodal" for row in data.rows):
        lines.append(
            "Rows of single modalities: networks trained side by side, from the epoch in which "
            "their averaged predictions were best on validation."
        )
    if data.joint is not None:
        lines.append(
            "Difference to joint: mean over the seeds of both, in brackets its 95 % interval, p of "
            "the paired t-test, corrected for the number of methods by Holm; neither with fewer "
            "than 3 seeds. Training time: relative to joint, with the start of the program, as "
            "measured beside other runs."
        )
    lines.append("Bold: best, underlined: second best of a column.")
    if any(is_extension(row, data) for row in data.rows):
        lines.append("†: its paper has no such task or fewer modalities; an extension of ours.")
    paper = published(data.name)
    if paper is not None:
        lines.append(f"Paper: Table {paper[0]} of the CGGM paper.")
    lines += [_settings_line(data), *_own_lines(data), _versions_line(data)]
    if data.missing:
        lines.append(f"Not in the table: {'; '.join(data.missing)}.")
    return lines


def generated_line(data: DataSet) -> list[str]:
    """A sentence where no real data were used, else nothing."""
    if "generated" in data.name or "synthetic" in data.name:
        return ["These data are generated: the figures say nothing about real data."]
    return []


def paper_row(row: Row) -> str:
    """What the paper's row is found by."""
    return row.label if row.kind == ALONE else row.method


def _compared(row: Row, joint: Row | None, figure: str) -> Difference | None:
    if joint is None or row.kind != OTHER:
        return None
    return difference(row.figures[figure], joint.figures.get(figure, {}))


def _extend(rows: list[list[Cell]], cells: list[Cell]) -> None:
    for row, cell in zip(rows, cells, strict=True):
        row.append(cell)


def _count(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"up to {seeds} seeds"


def _seeds(row: Row) -> str:
    return str(len(row.seeds))


def _mean_cell(measured: Measured | None) -> Cell:
    if measured is None:
        return Cell("–")
    return Cell(mean_text(measured.summary, measured.figure), measured.mark)


def _difference_cell(measured: Measured | None) -> Cell:
    found = None if measured is None else measured.difference
    if measured is None or found is None:
        return Cell("–")
    digits = digits_of(measured.figure)
    text = f"{found.mean:+.{digits}f}"
    if found.interval is not None:
        low, high = (f"{end:+.{digits}f}" for end in found.interval)
        text += f" [{low}, {high}]"
    if measured.p_holm is not None:
        text += ", p < 0.001" if measured.p_holm < 0.001 else f", p = {measured.p_holm:.3f}"
    return Cell(text)


def _paper_cell(measured: Measured | None) -> Cell:
    if measured is None or measured.published is None:
        return Cell("–")
    return Cell(f"{measured.published:.{digits_of(measured.figure)}f}")


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
