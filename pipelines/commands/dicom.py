"""`cggm dicom`: MR series of a PACS as NIfTI cases, and masks as DICOM segmentations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ...data.brats.checks import plural
from ...data.brats.layouts import SEQUENCES
from ...data.dicom.conversion import convert_case
from ...data.dicom.headers import Contents, read_tree
from ...data.dicom.names import name_cases, read_mapping, write_mapping
from ...data.dicom.series import Series, check_use, choose, series_of
from ...data.dicom.table import TABLE, apply_table, read_table, write_table
from ...data.errors import InputError, some
from ...data.files import write_csv
from .start import make_writable

FAILED = "failed.csv"

app = typer.Typer(
    help="Read MR series of a PACS, and write masks for it; docs/dicom.md says more.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A folder of DICOM files, however sorted.")],
    output: Annotated[Path, typer.Argument(help="Where series.csv and the cases go.")],
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The series.csv to follow; by default OUTPUT's own."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep who the cases are in this private file."),
    ] = None,
    keep_ids: Annotated[
        bool, typer.Option("--keep_ids", help="Name cases by the patient's ID, not a number.")
    ] = False,
) -> None:
    """Turn MR series into a folder of NIfTI cases, with a table to confirm or edit."""
    make_writable(output)
    given = table or output / TABLE
    rows = read_table(given) if table or given.exists() else {}
    contents = read_tree(source, _show)
    series = series_of(contents)
    known = {name: row["case"] for name, row in rows.items()}
    name_cases(
        series, known | (read_mapping(mapping) if mapping else {}), keep_ids=keep_ids
    )
    choose(series)
    apply_table(series, rows)
    write_table(output / TABLE, series)
    if mapping:
        write_mapping(mapping, series)
    _say_contents(contents, series, source)
    _convert_all(series, output)


def _convert_all(series: list[Series], output: Path) -> None:
    """Convert the cases that are decided; what is wrong with one stops no other."""
    cases: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        cases[one.case].append(one)
    failed: dict[str, str] = {}
    waiting: list[str] = []
    for number, (case, group) in enumerate(sorted(cases.items()), 1):
        try:
            line = _take(case, group, output, waiting)
        except InputError as error:
            failed[case] = str(error)
            line = f"FAILED: {error}"
        print(f"{number}/{len(cases)} {case}: {line}", flush=True)
    done = len(cases) - len(failed) - len(waiting)
    print(f"{done} of {plural(len(cases), 'case')} in {output}; all series in {output / TABLE}")
    if waiting:
        print(
            f"{plural(len(waiting), 'case')} wait for you ({some(waiting)}): in {output / TABLE} "
            "put yes or no in place of each ? of the column use, correct the column sequence, and "
            "run the same command again"
        )
    if failed:
        write_csv(output / FAILED, [{"case": k, "reason": v} for k, v in failed.items()])
        print(f"{plural(len(failed), 'case')} failed, see {output / FAILED}")
        raise typer.Exit(1)
    (output / FAILED).unlink(missing_ok=True)


def _take(case: str, group: list[Series], output: Path, waiting: list[str]) -> str:
    """Convert one case; say in a line what became of it."""
    if problems := check_use(group):
        raise InputError("; ".join(problems))
    open_questions = [one for one in group if one.use == "?"]
    if open_questions:
        waiting.append(case)
        asked = [f"{one.where}: {one.sequence}? {one.reason}" for one in open_questions]
        return "\n    ".join(["waits for you", *asked])
    used = [one for one in group if one.use == "yes"]
    refused = [f"{one.where}: {one.reason}" for one in group if one.sequence and one.problem]
    if not used:
        raise InputError("; ".join([f"case {case}: no series can be used", *refused]))
    written = convert_case(case, group, output)
    present = [name for name in SEQUENCES if any(one.sequence == name for one in used)]
    absent = [name for name in SEQUENCES if name not in present]
    line = ", ".join(present) + (f"; without {', '.join(absent)}" if absent else "")
    preferred = [f"{one.where}: {one.reason}" for one in used if "preferred to" in one.reason]
    return "\n    ".join([line if written else f"{line} (finished before)", *refused, *preferred])


def _say_contents(contents: Contents, series: list[Series], source: Path) -> None:
    patients = {one.header.patient for one in series}
    studies = {one.case for one in series}
    print(
        f"{len(series)} series of {plural(len(studies), 'examination')} of "
        f"{plural(len(patients), 'patient')}",
        flush=True,
    )
    for path, reason in list(contents.unreadable.items())[:10]:
        print(f"note: {path.relative_to(source)} cannot be read: {reason}")
    if len(contents.unreadable) > 10:
        print(f"note: {len(contents.unreadable) - 10} more files cannot be read")


def _show(files: Iterable[Path]) -> Iterable[Path]:
    return tqdm(files, desc="reading headers", unit="file", disable=None, leave=False)
