"""The figures over cases as rows of a table, each beside the rule it follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from .empty_regions import EmptyRegions
from .region import ScoringRules
from .statistics import RegionSummary, in_unit

Cells = Sequence[str]

FIGURE_COLUMNS = (
    "region",
    "figure",
    "mean",
    "95 % interval",
    "median",
    "cases",
    "undefined",
    "rule",
)
COUNT_COLUMNS = (
    "region",
    "empty in both",
    "in the truth alone",
    "in the prediction alone",
    "lesions found",
    "missed",
    "false",
    "volume, limits of agreement (ml)",
)
_TITLES = {
    "dice": "Dice (%)",
    "hd95_mm": "HD95 (mm)",
    "surface_dice": "surface Dice (%)",
    "sensitivity": "sensitivity (%)",
    "specificity": "specificity (%)",
    "volume_error_ml": "volume error (ml)",
    "lesion_dice": "lesion-wise Dice (%)",
    "lesion_hd95_mm": "lesion-wise HD95 (mm)",
}


def rules_by_figure(rules: ScoringRules) -> dict[str, str]:
    """What has to be said beside each figure."""
    lesions = f"brats2023, {rules.lesion_rule}"
    return {
        "dice": rules.empty_regions,
        "hd95_mm": rules.empty_regions,
        "surface_dice": f"{rules.empty_regions}, {rules.tolerance_mm:g} mm",
        "sensitivity": "undefined for an empty truth",
        "specificity": "over the whole image",
        "volume_error_ml": "predicted minus true",
        "lesion_dice": lesions,
        "lesion_hd95_mm": lesions,
    }


def figure_rows(summaries: Mapping[str, RegionSummary], rules: ScoringRules) -> list[Cells]:
    """A row per region and figure, see :data:`FIGURE_COLUMNS`."""
    beside = rules_by_figure(rules)
    rows: list[Cells] = []
    for region, summary in summaries.items():
        for name, figure in summary.figures.items():
            low_high = [number(in_unit(name, limit), 2) for limit in figure.interval_95 or ()]
            rows.append(
                (
                    region,
                    _TITLES[name],
                    number(in_unit(name, figure.mean), 2),
                    " to ".join(low_high),
                    number(in_unit(name, figure.median), 2),
                    str(figure.values),
                    str(figure.undefined),
                    beside[name],
                )
            )
    return rows


def count_rows(summaries: Mapping[str, RegionSummary]) -> list[Cells]:
    """A row per region, see :data:`COUNT_COLUMNS`."""
    rows: list[Cells] = []
    for region, summary in summaries.items():
        bias, low, high = (number(value, 2) for value in summary.agreement)
        counts = (*summary.empty.values(), *summary.lesions.values())
        rows.append((region, *map(str, counts), f"{bias} ({low} to {high})"))
    return rows


def in_words(convention: EmptyRegions) -> str:
    """What a convention gives for each kind of empty region."""
    kinds = {
        "in both": convention.both,
        "in the truth alone": convention.truth,
        "in the prediction alone": convention.prediction,
    }
    return "; ".join(
        f"{where} Dice {number(100 * scores.dice, 0)}, HD95 {number(scores.hd95_mm, 2)}"
        for where, scores in kinds.items()
    )


def markdown_table(columns: Cells, rows: Iterable[Cells]) -> list[str]:
    """The lines of a table."""
    cells = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def number(value: float, digits: int) -> str:
    """A number with so many digits after the point, or "undefined"."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "undefined"
