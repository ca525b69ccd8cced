"""`cggm follow`: how tumors changed between the dates of each patient."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ...data.brats.checks import plural
from ...data.brats.conventions import ALL_REGIONS
from ...data.errors import InputError
from ...data.files import write_csv
from ..segmentation.follow.new_lesions import SMALLEST_ML
from ..segmentation.follow.picture import draw_course
from ..segmentation.follow.table import Measured, measure, rows_of
from ..segmentation.follow.visits import dated, patients_in, read_visits
from ..segmentation.output_folder import COURSES, FOLLOWED


def main(
    segmented: Annotated[Path, typer.Argument(help="The folder that cggm segment wrote.")],
    dates: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Columns case and date, where the records lack dates."),
    ] = None,
    smallest_new: Annotated[
        float,
        typer.Option(
            "--smallest_new", metavar="ML", min=0, help="Smallest new lesion that counts."
        ),
    ] = SMALLEST_ML,
) -> None:
    """Compare the dates of each patient: volumes, diameters of ET, new lesions. Research only."""
    visits, failures = read_visits(segmented)
    patients = patients_in(dated(visits, dates))
    followed: list[Measured] = []
    for patient in tqdm(patients, unit="patient", disable=None):
        try:
            measured = measure(patient, smallest_new)
        except InputError as error:
            failures[patient.name] = str(error)
            continue
        followed += measured
        if len(measured) > 1:
            tqdm.write(course(measured))
            if patient.unordered is None:
                draw_course(segmented / COURSES / f"{_file_name(patient.name)}.png", measured)
    write_csv(segmented / FOLLOWED, rows_of(followed))
    for name, sentence in failures.items():
        print(f"error: {name}: {sentence}", file=sys.stderr)
    several = sum(len(patient.visits) > 1 for patient in patients)
    number = plural(len(patients), "patient")
    print(f"{number}, {several} with several dates; table in {segmented / FOLLOWED}")
    if not several:
        print(
            "dates of one patient are told by names such as P01_2024-03-01 or P01_20240301, by "
            "folders such as P01/2024-03-01, or by --dates"
        )
    if failures:
        raise typer.Exit(1)


def course(dates: Sequence[Measured]) -> str:
    """Tell a patient's dates in a few lines."""
    lines = [dates[0].visit.patient]
    for one in dates:
        regions = [r for r in ALL_REGIONS if r != "RC" or one.values["RC_ml"] is not None]
        parts = [_figure(one, region) for region in regions]
        if one.new:
            parts.append("new lesion")
        lines.append("  ".join([f"  {one.visit.when}", *parts]))
        lines += [f"    {remark}" for remark in one.remarks]
    return "\n".join(lines)


def _figure(one: Measured, region: str) -> str:
    name = f"{region}_ml"
    value, percent = one.values[name], one.changes.get(f"{name}_since_first_percent")
    if value is None:
        return f"{region} –"
    return f"{region} {value:.1f} ml" + ("" if percent is None else f" ({percent:+.0f} %)")


def _file_name(patient: str) -> str:
    return re.sub(r"[^\w.-]", "_", patient)
