"""The report of the study: tables with intervals, and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from ....data.errors import InputError
from ....data.files import write_csv, write_text
from ..report.drawing import as_png
from ..report.formats import markdown
from ..report.pieces import NONE, Cell, Table
from ..report.statistics import Difference
from .findings import Study
from .mechanism import FILE as MECHANISM
from .mechanism_tables import mechanism_tables
from .picture import differences_figure
from .work import FILE, read

TITLES = {
    "cggm": "CGGM in its forms, difference to joint training on the test parts (points)",
    "control": "Controls, difference to joint training on the test parts (points)",
    "fixed": "One encoder at another fixed rate, difference to joint training (points)",
    "other": "Other methods, difference to joint training on the test parts (points)",
}
INTERVAL = (
    "Mean over {counts} divisions, in brackets the 95 % interval (corrected resampled t-test); "
    "bold: significant at 5 % after Holm's correction within the table."
)


def write_report(folder: Path, target: Path) -> list[Path]:
    """Write tables and picture; give the files.

    Raises:
        InputError: nothing was trained yet.
    """
    results = read(folder / FILE)
    if not results:
        raise InputError(f"{folder} has no results; start with `cggm study run`")
    study = Study(results)
    tables = [
        rates_table(study),
        baseline_table(study),
        choice_table(study),
        *(
            test_table(study, group, title)
            for group, title in TITLES.items()
            if study.compared(group)
        ),
        carried_table(study),
        factors_table(study),
        *mechanism_tables(_content(folder / MECHANISM)),
    ]
    written = [target / "tables.md", target / "figures.csv", target / "differences.png"]
    write_text(written[0], "\n".join(markdown(table) for table in tables))
    write_csv(written[1], study.rows())
    written[2].write_bytes(as_png(differences_figure(study)))
    return written


def rates_table(study: Study) -> Table:
    """Joint training's search for a learning rate, on validation."""
    rates = study.rates()
    rows = []
    for data in study.data:
        means, chosen = study.search(data)
        cells = [Cell(f"{means[r]:.1f}", "best" if r == chosen else "") for r in rates]
        rows.append([Cell(data), *cells])
    head = ["data", *(f"{rate:g}" for rate in rates)]
    caption = ["Validation, percent, mean over 5 divisions. All else is trained at the bold rate."]
    return Table("Learning rate of joint training", caption, head, rows)


def baseline_table(study: Study) -> Table:
    """What joint training, its classifiers and single modalities reach."""
    rows = []
    for data in study.data:
        joint = study.mean(data, "joint")
        learned = "; ".join(
            f"{name} {alone:.1f} / {inside:.1f}" for name, alone, inside in study.encoders(data)
        )
        rows.append([Cell(data), Cell(f"{joint:.1f}"), Cell(learned)])
    caption = [
        "Test, percent: accuracy, of `emoji` 100 times the correlation. Per modality: a network of "
        "it alone / the classifier on its encoder in joint training. Where the second is much "
        "lower, joint training left that encoder under-trained."
    ]
    return Table(
        "Joint training and single modalities", caption, ["data", "joint", "alone / in joint"], rows
    )


def choice_table(study: Study) -> Table:
    """By which validation figures the default is chosen."""
    ranked = study.ranked()
    rows = [
        [Cell(name), Cell(f"{mean:+.2f}", "best" if i == 0 else ""), *_plain(values)]
        for i, (name, mean, values) in enumerate(ranked)
    ]
    caption = [
        "Difference to joint training on validation, points; mean over the data sets, of which the "
        "three dials count as one. The first row is chosen; no test figure has a part in it."
    ]
    head = ["variant", "mean", *study.data]
    return Table("Choice of the default, on validation", caption, head, rows)


def test_table(study: Study, group: str, title: str) -> Table:
    """Differences to joint training on the test parts, with intervals."""
    compared = study.compared(group)
    names = list(dict.fromkeys(name for name, _ in compared))
    rows = [
        [
            Cell(name),
            *(_difference_cell(*compared.get((name, d), (None, False))) for d in study.data),
        ]
        for name in names
    ]
    pairs = [difference.pairs for difference, _ in compared.values()]
    counts = " to ".join(map(str, dict.fromkeys([min(pairs), max(pairs)])))
    caption = [INTERVAL.format(counts=counts)]
    return Table(title, caption, ["variant", *study.data], rows)


def carried_table(study: Study) -> Table:
    """The variant that all other data sets choose, on the one that had no say."""
    rows = [
        [Cell(data), Cell(name), Cell(f"{_interval(difference)}, p = {difference.p:.2f}")]
        for data, name, difference in study.left_out()
    ]
    caption = [
        "The variant is chosen on the validation parts of the other data sets only (all dials are "
        "left out together). p is not corrected."
    ]
    head = ["data left out", "chosen by the others", "difference to joint on its test parts"]
    return Table("Does the choice carry over?", caption, head, rows)


def factors_table(study: Study) -> Table:
    """What the factors of each variant were."""
    rows = [
        [
            Cell(line["variant"]),
            *(Cell(f"{100 * line[share]:.1f}") for share in ("negative", "huge", "neutral")),
            *(Cell(f"{line[name]:.2f}") for name in ("mean", "difference", "spread")),
        ]
        for line in study.factors()
    ]
    head = ["variant", "negative %", "beyond ±10 %", "1 for all %", "mean", "difference", "spread"]
    caption = [
        "Over all steps, data sets and divisions. Difference: between the largest and the smallest "
        "of the modalities' mean factors; spread: standard deviation from step to step (medians "
        "over the trainings). A factor says something of a modality where the first is not small "
        "beside the second."
    ]
    return Table("Factors", caption, head, rows)


def _plain(values: Sequence[float]) -> list[Cell]:
    return [NONE if math.isnan(value) else Cell(f"{value:+.1f}") for value in values]


def _difference_cell(difference: Difference | None, is_clear: bool) -> Cell:
    return NONE if difference is None else Cell(_interval(difference), "best" if is_clear else "")


def _interval(difference: Difference) -> str:
    return f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def _content(path: Path) -> dict[str, list[dict[str, float | str]]]:
    return json.loads(path.read_text()) if path.is_file() else {}
