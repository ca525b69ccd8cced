"""The report of the study: tables with intervals, figures, and all numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ....data.errors import InputError
from ....data.files import write_atomically, write_csv, write_text
from ..report.drawing import as_png
from ..report.formats import markdown
from ..report.pieces import NONE, Cell, Table, lines_of
from .findings import EXPLORATORY, Findings
from .pictures import differences_figure, factors_figure, ranks_figure
from .plan import PRIMARY, SECONDARY, Questions, Study
from .statistics import Comparison
from .work import RESULTS, read

# Methods and cells whose factors are a figure, of eight panels.
DRAWN, SHOWN = ("cggm", "progress_rates"), ("late", "memorized", "noise", "complementary")


def write_report(asked: Questions, folder: Path) -> list[Path]:
    """Write tables and figures into the folder `report`; give the files.

    Raises:
        InputError: nothing was tested yet.
    """
    findings = Findings(Study(asked, read(folder)))
    comparisons = findings.comparisons()
    if comparisons.empty:
        raise InputError(
            f"{folder / RESULTS} has no tested method yet; go on with `cggm study run`"
        )
    tables = tables_of(findings, comparisons)
    target = folder / "report"
    written = [target / "tables.md", target / "comparisons.csv"]
    text = [_head(findings), *map(markdown, tables)]
    write_text(written[0], "\n".join(text))
    write_csv(written[1], lines_of(comparisons.round(4)))
    for name, figure in _figures(findings, comparisons).items():
        png = as_png(figure)
        written.append(target / f"{name}.png")
        write_atomically(written[-1], lambda file, png=png: file.write(png))
    return written


def tables_of(findings: Findings, comparisons: pd.DataFrame) -> list[Table]:
    """All tables, those without any row left out."""
    dropout = findings.asked.content["dropout"]
    primary = comparisons[comparisons["group"] == PRIMARY]
    tables = [
        primary_table(findings, primary, 0.0),
        primary_table(findings, primary, dropout),
        imbalance_table(findings),
        secondary_table(comparisons, SECONDARY, "Other dials, more modalities, SGD (exploratory)"),
        secondary_table(comparisons, EXPLORATORY, "All other methods (exploratory)"),
        ranks_table(findings),
        missing_table(findings, dropout),
        mechanism_table(findings),
        rates_table(findings),
    ]
    return [table for table in tables if table.rows]


def primary_table(findings: Findings, primary: pd.DataFrame, dropout: float) -> Table:
    """Answers to the primary questions."""
    asked = findings.asked
    shown = primary[primary["dropout"] == dropout]
    methods = [name for name in findings.study.compared() if name in set(shown["method"])]
    rows = []
    for cell in dict.fromkeys(shown["cell"]):
        score = findings.scores(cell, asked.baseline, dropout).mean()
        found = shown[shown["cell"] == cell].set_index("method")
        cells = [_judged(found.loc[name]) if name in found.index else NONE for name in methods]
        rows.append([Cell(cell), Cell(f"{score:.1f}"), *cells])
    caption = [
        f"Points on test minus {asked.baseline}, mean of {_draws(primary['pairs'])} "
        f"independent draws, in brackets the 95 % interval. Bold: different at "
        f"{asked.content['alpha']:g}; =: equivalent within ±{asked.content['equivalence']:g} "
        f"point; both corrected by Holm over all {len(primary)} primary comparisons. Neither: "
        "undecided.",
    ]
    words = f"modality dropout {dropout:g}" if dropout else "no modality dropout"
    return Table(f"Primary questions, {words}", caption, ["data", asked.baseline, *methods], rows)


def imbalance_table(findings: Findings) -> Table:
    """What is out of balance in each cell."""
    rows = []
    for line in findings.imbalance():
        learned = "; ".join(
            f"{name} {value:.1f} / {line['inside'][name]:.1f}"
            for name, value in line["alone"].items()
        )
        gap: Comparison | None = line["gap"]
        cells = [line["cell"], f"{line['joint']:.1f}", _interval(gap) if gap else "–", learned]
        rows.append([Cell(text) for text in cells])
    caption = [
        "Test, points. Joint training, and how far it is above the modality that is best alone "
        "(below 0: more modalities are worse than one). Per modality: a network of it alone / the "
        "classifier on its encoder in joint training; where the second is lower, joint training "
        "left this encoder behind."
    ]
    head = ["data", "joint", "joint - best alone", "alone / in joint training"]
    return Table("Imbalance in joint training", caption, head, rows)


def secondary_table(comparisons: pd.DataFrame, group: str, title: str) -> Table:
    """Comparisons that are no answers, only hints: nothing is corrected."""
    shown = comparisons[(comparisons["group"] == group) & (comparisons["dropout"] == 0)]
    cells = list(dict.fromkeys(shown["cell"]))
    rows = []
    for method in dict.fromkeys(shown["method"]):
        found = shown[shown["method"] == method].set_index("cell")
        one = [_judged(found.loc[c]) if c in found.index else NONE for c in cells]
        rows.append([Cell(method), *one])
    draws = _draws(shown["pairs"]) if rows else ""
    caption = [f"As above, {draws} draws; intervals not corrected for their number."]
    return Table(title, caption, ["method", *cells], rows)


def ranks_table(findings: Findings) -> Table:
    """Methods over all primary cells."""
    found = findings.ranking()
    if found is None:
        return Table("", [], [], [])
    rows = [
        [
            Cell(name),
            Cell(f"{rank:.1f}"),
            NONE if name == findings.asked.baseline else Cell(f"{found.against.loc[name]:.2g}"),
        ]
        for name, rank in zip(map(str, found.ranks.index), found.ranks, strict=True)
    ]
    caption = [
        f"Mean rank over {found.cells} primary cells without modality dropout, of the methods that "
        f"cover all of them; Friedman p = {found.p:.2g}. p: Wilcoxon's signed-rank test against "
        f"{findings.asked.baseline} over the cells, corrected by Holm."
    ]
    return Table("Ranks (exploratory)", caption, ["method", "mean rank", "p"], rows)


def missing_table(findings: Findings, dropout: float) -> Table:
    """What is left where one modality is missing at test."""
    methods = findings.study.compared()
    columns = [(name, p) for p in (0.0, dropout) for name in methods]
    rows = []
    for cell in findings.asked.primary:
        values = [findings.missing(cell, name, p) for name, p in columns]
        if any(value is not None for value in values):
            rows.append([Cell(cell), *(NONE if v is None else Cell(f"{v:.1f}") for v in values)])
    caption = ["Test, points, with one modality masked, mean over which."]
    head = [f"{name}, dropout" if p else name for name, p in columns]
    return Table("One modality missing (exploratory)", caption, ["data", *head], rows)


def mechanism_table(findings: Findings) -> Table:
    """Factors of each method, and what they change in the encoders."""
    rows = []
    for cell in findings.asked.cells:
        joint = findings.inside(cell, findings.asked.baseline)
        norms = findings.mechanism(cell, findings.asked.baseline, "gradients")
        for method in findings.study.compared():
            factors = findings.mechanism(cell, method)
            if factors is None or norms is None:
                continue
            inside = findings.inside(cell, method)
            rows.append(
                [
                    Cell(cell),
                    Cell(method),
                    Cell(" / ".join(f"{value:.2f}" for value in factors.mean(0))),
                    Cell(" / ".join(f"{inside[name] - joint[name]:+.1f}" for name in joint)),
                    Cell(" / ".join(f"{value:.2f}" for value in norms.mean(0))),
                ]
            )
    caption = [
        "Mean factor of each modality; what its classifier gains over that of joint training "
        "(test, points); and the norm of its encoder's gradient in joint training."
    ]
    head = ["data", "method", "factors", "encoders", "gradients in joint training"]
    return Table("Mechanism", caption, head, rows)


def rates_table(findings: Findings) -> Table:
    """Learning rates that validation chose."""
    asked = findings.asked
    rows = []
    for cell in asked.cells:
        found = [findings.study.rate(cell, name) for name in asked.methods]
        rows.append([Cell(cell), *(NONE if r is None else Cell(f"{r:g}") for r in found)])
    caption = [f"Best on validation of {asked.draws['search']} draws that are not tested on."]
    return Table("Learning rates", caption, ["data", *asked.methods], rows)


def _figures(findings: Findings, comparisons: pd.DataFrame) -> dict[str, Any]:
    asked = findings.asked
    primary = comparisons[comparisons["group"] == PRIMARY]
    figures: dict[str, Any] = {}
    if len(primary):
        dropouts = sorted(set(primary["dropout"]))
        figures["differences"] = differences_figure(primary, dropouts, asked.content["equivalence"])
    found = findings.ranking()
    if found is not None:
        figures["ranks"] = ranks_figure(found, asked.baseline)
    profiles = [
        (f"{method}: {cell}", values)
        for method in DRAWN
        for cell in SHOWN
        if (values := findings.mechanism(cell, method)) is not None
    ]
    if profiles:
        figures["factors"] = factors_figure(profiles)
    return figures


def _head(findings: Findings) -> str:
    content = findings.asked.content
    failed = [f"`{name}` ({reason})" for name, reason in findings.failures().items()]
    lines = [
        "# Tables of the study",
        "",
        f"Primary questions of {content['date']}, written before the first training "
        "(`pipelines/research/study/questions.json`). All that is not called primary is "
        f"exploratory. {len(findings.study.results)} trainings.",
        "",
        *(f"{i}. {question}" for i, question in enumerate(content["questions"], 1)),
        "",
        f"Power, computed before: {content['power']}",
        "",
        *([f"Could not be trained: {'; '.join(failed)}.", ""] if failed else []),
    ]
    return "\n".join(lines)


def _draws(pairs: pd.Series) -> str:
    return " to ".join(dict.fromkeys([str(pairs.min()), str(pairs.max())]))


def _judged(row: pd.Series) -> Cell:
    text = _interval(Comparison(*(row[name] for name in Comparison.__dataclass_fields__)))
    mark = "best" if "better" in row["verdict"] or "worse" in row["verdict"] else ""
    return Cell(f"{text} =" if "equivalent" in row["verdict"] else text, mark)


def _interval(found: Comparison) -> str:
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
