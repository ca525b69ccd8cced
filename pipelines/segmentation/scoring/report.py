"""The report of a scoring: a table per case, JSON, Markdown, and a table for the console."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ....data.brats.checks import plural
from ....data.errors import InputError
from ....data.files import whole_folder, write_csv, write_json, write_text
from ....data.patients import patient_of
from .cases import CaseScores
from .empty_regions import EmptyRegions, empty_regions_named
from .lesions import lesion_rule_named
from .masks import Regions
from .region import ScoringRules
from .statistics import FIGURES, FigureSummary, RegionSummary, in_unit, summarize
from .tables import (
    COUNT_COLUMNS,
    FIGURE_COLUMNS,
    count_rows,
    figure_rows,
    in_words,
    markdown_table,
    rules_by_figure,
)

FILES = ("scores.csv", "scores.json", "scores.md")
HD95 = (
    "HD95: the larger of both directions' 95th percentile (linear) of distances between surface "
    "voxels, as monai.metrics gives it"
)


@dataclass(frozen=True)
class ScoreReport:
    """Scores of many cases and what has to be said about them.

    Args:
        cases: at least one.
        regions: of the masks.
        rules: conventions the scores follow.
        predictions: where the predictions are from.
        truth: where the truth is from.
        not_scored: a sentence for each case without scores, by its name.
        notes: what was done to files.
        seed: of the bootstrap.
    """

    cases: Sequence[CaseScores]
    regions: Regions
    rules: ScoringRules
    predictions: str
    truth: str
    not_scored: Mapping[str, str]
    notes: Sequence[str] = ()
    seed: int = 0

    def write(self, folder: str | Path) -> dict[str, RegionSummary]:
        """Write all three files, or none, in place of those of an earlier scoring.

        Returns:
            The figures over cases by region.

        Raises:
            InputError: the system refuses, or the folder holds other files.
        """
        summaries = summarize(self.cases, seed=self.seed)
        with whole_folder(folder, replace=check_replaceable) as new:
            write_csv(new / "scores.csv", list(self._case_rows()))
            write_json(new / "scores.json", self._content(summaries))
            write_text(new / "scores.md", self._markdown(summaries))
        return summaries

    def show(self, summaries: Mapping[str, RegionSummary]) -> None:
        """Print the figures over cases."""
        console = Console()
        if not console.is_terminal:
            console = Console(width=140)  # a file or a pipe has no width of its own
        figures = Table(*FIGURE_COLUMNS, title=self._headline())
        previous = ""
        for cells in figure_rows(summaries, self.rules):
            if previous not in ("", cells[0]):
                figures.add_section()
            previous = cells[0]
            figures.add_row(*map(Text, cells))
        counts = Table(*COUNT_COLUMNS)
        for cells in count_rows(summaries):
            counts.add_row(*map(Text, cells))
        console.print(figures)
        console.print(counts)

    def _headline(self) -> str:
        patients = len({patient_of(scores.case) for scores in self.cases})
        return (
            f"{plural(len(self.cases), 'case')} of {plural(patients, 'patient')}, empty regions by "
            f"{self.rules.empty_regions}"
        )

    def _case_rows(self) -> Iterator[dict[str, object]]:
        for scores in self.cases:
            for region, figures in scores.regions.items():
                values = {
                    name: value if isinstance(value, str) else _plain(in_unit(name, value))
                    for name, value in asdict(figures).items()
                }
                yield {
                    "case": scores.case,
                    "region": region,
                    "empty_regions": self.rules.empty_regions,
                    "lesion_rule": self.rules.lesion_rule,
                    "tolerance_mm": self.rules.tolerance_mm,
                    **{name: "" if value is None else value for name, value in values.items()},
                }

    def _content(self, summaries: Mapping[str, RegionSummary]) -> dict[str, object]:
        convention = empty_regions_named(self.rules.empty_regions)
        beside = rules_by_figure(self.rules)
        return {
            "predictions": self.predictions,
            "truth": self.truth,
            "cggm": version("cggm"),
            "cases": len(self.cases),
            "patients": len({patient_of(scores.case) for scores in self.cases}),
            "not_scored": dict(self.not_scored),
            "notes": list(self.notes),
            "label_convention": self.regions.convention,
            "labels": None if self.regions.labels is None else dict(self.regions.labels),
            "empty_regions": _described(convention),
            "surface_tolerance_mm": self.rules.tolerance_mm,
            "lesion_rule": {
                "name": self.rules.lesion_rule,
                "source": "BraTS 2023",
                **lesion_rule_named(self.rules.lesion_rule)._asdict(),
            },
            "hd95": HD95,
            "interval_95": "bootstrap of the mean over patients, percentiles",
            "seed": self.seed,
            "regions": {
                region: {
                    "figures": {
                        name: _figure(name, figure, beside[name])
                        for name, figure in summary.figures.items()
                    },
                    "empty": summary.empty,
                    "lesions": summary.lesions,
                    "limits_of_agreement_ml": {
                        name: _plain(value) for name, value in summary.agreement._asdict().items()
                    },
                }
                for region, summary in summaries.items()
            },
        }

    def _markdown(self, summaries: Mapping[str, RegionSummary]) -> str:
        convention = empty_regions_named(self.rules.empty_regions)
        rule = lesion_rule_named(self.rules.lesion_rule)
        lines = [
            "# Scores of segmentation masks",
            "",
            f"Predictions: {self.predictions}. Truth: {self.truth}. {self._headline()}.",
            "",
            *markdown_table(FIGURE_COLUMNS, figure_rows(summaries, self.rules)),
            "",
            *markdown_table(COUNT_COLUMNS, count_rows(summaries)),
            "",
            f"- Empty regions by `{convention.name}` ({convention.source}): "
            f"{in_words(convention)}.",
            f"- {HD95}.",
            f"- Lesion-wise by BraTS 2023, `{self.rules.lesion_rule}`: dilation of {rule.dilation} "
            f"voxels, lesions up to {rule.ignored_mm3:g} mm³ do not count, 374 mm for a missed or "
            "false one.",
            "- Undefined values are left out of mean and median.",
            "- Intervals: bootstrap of the mean over patients, percentiles; none below 5 patients. "
            "Limits of agreement: mean difference of volumes ± 1.96 standard deviations.",
        ]
        if self.not_scored:
            lines += ["", f"## {plural(len(self.not_scored), 'case')} without scores", ""]
            lines += [f"- {sentence}" for sentence in self.not_scored.values()]
        if self.notes:
            lines += ["", "## Notes", "", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def check_replaceable(folder: Path) -> bool:
    """Allow to replace a folder that holds nothing but files of an earlier scoring.

    Raises:
        InputError: it is a file, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another output folder")
    others = sorted(path.name for path in folder.glob("*") if path.name not in FILES)
    if others:
        raise InputError(
            f"{folder} holds other files than scores, such as {others[0]}; choose another output "
            "folder with --output_dir"
        )
    return True


def _figure(name: str, figure: FigureSummary, rule: str) -> dict[str, object]:
    interval = figure.interval_95
    return {
        "unit": FIGURES[name],
        "rule": rule,
        "mean": _plain(in_unit(name, figure.mean)),
        "interval_95": interval and [_plain(in_unit(name, limit)) for limit in interval],
        "median": _plain(in_unit(name, figure.median)),
        "cases": figure.values,
        "undefined": figure.undefined,
    }


def _described(convention: EmptyRegions) -> dict[str, object]:
    rows = {
        "empty_in_both": convention.both,
        "empty_in_truth": convention.truth,
        "empty_in_prediction": convention.prediction,
    }
    return {
        "name": convention.name,
        "source": convention.source,
        **{
            name: {key: _plain(in_unit(key, value)) for key, value in row._asdict().items()}
            for name, row in rows.items()
        },
    }


def _plain(value: float | int | str) -> float | int | str | None:
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None
