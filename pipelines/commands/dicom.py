"""`cggm dicom`: MR series of a PACS as NIfTI cases, and masks as DICOM segmentations."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ...data.brats.checks import plural
from ...data.brats.conventions import label_convention_named
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
    name_cases(series, known | (read_mapping(mapping) if mapping else {}), keep_ids=keep_ids)
    choose(series)
    apply_table(series, rows)
    write_table(output / TABLE, series)
    if mapping:
        write_mapping(mapping, series)
    _say_contents(contents, series, source)
    try:
        failed = _convert_all(series, output)
    finally:
        write_table(output / TABLE, series)  # with what came to light as pixels were read
    if failed:
        raise typer.Exit(1)


def _convert_all(series: list[Series], output: Path) -> dict[str, str]:
    """Convert the cases that are decided; give the reasons why others failed."""
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
            f"{plural(len(waiting), 'case')} {'waits' if len(waiting) == 1 else 'wait'} for you "
            f"({some(waiting)}): in {output / TABLE} put yes or no in place of each ? of the "
            "column use, correct the column sequence, and run the same command again"
        )
    if failed:
        write_csv(output / FAILED, [{"case": k, "reason": v} for k, v in failed.items()])
        print(f"{plural(len(failed), 'case')} failed, see {output / FAILED}")
    else:
        (output / FAILED).unlink(missing_ok=True)
    return failed


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
    if not used:
        refused = [f"{one.where}: {one.problem}" for one in group if one.sequence and one.problem]
        raise InputError("; ".join([f"case {case}: no series can be used", *refused]))
    written = convert_case(case, group, output)
    present = {one.sequence for one in used if not one.problem}
    absent = [name for name in SEQUENCES if name not in present]
    line = ", ".join(name for name in SEQUENCES if name in present)
    line += f"; without {', '.join(absent)}" if absent else ""
    refused = [f"{one.where}: {one.reason}" for one in group if one.sequence and one.problem]
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


@app.command()
def seg(
    masks: Annotated[Path, typer.Argument(help="A mask (NIfTI), or a folder of them.")],
    source: Annotated[Path, typer.Argument(help="The folder of DICOM files.")],
    output: Annotated[Path, typer.Argument(help="Where the segmentations go.")],
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="series.csv of cggm dicom convert, to tell the cases."),
    ] = None,
    label_convention: Annotated[
        str, typer.Option("--label_convention", help="What the values of the masks mean.")
    ] = "brats2021",
) -> None:
    """Write masks as DICOM segmentations on the series that they lie on."""
    from ..segmentation.dicom_segmentation import read_mask, write_segmentation

    label_convention_named(label_convention)
    files = find_masks(masks)
    rows = read_table(table) if table else {}
    series = series_of(read_tree(source, _show))
    name_cases(series, {name: row["case"] for name, row in rows.items()})
    apply_table(series, rows)
    make_writable(output)
    problems = []
    for path in files:
        try:
            one = series_of_mask(path, series, known=bool(rows))
            assert one.stack is not None
            classes = read_mask(path, label_convention, one.stack)
            target = output / f"{path.name.partition('.nii')[0]}.dcm"
            written = write_segmentation(classes, one.stack, target)
        except InputError as error:
            problems.append(f"{path.name}: {error}")
            continue
        print(f"{target}: {one.where}{'' if written else ' (finished before)'}", flush=True)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(files) - len(problems)} of {plural(len(files), 'mask')} in {output}")
    if problems:
        raise typer.Exit(1)


def find_masks(masks: Path) -> list[Path]:
    """The mask files of a folder, or the one that is given.

    Raises:
        InputError: there is none.
    """
    files = [masks] if masks.is_file() else sorted(masks.rglob("*")) if masks.is_dir() else []
    found = [path for path in files if path.name.endswith((".nii", ".nii.gz")) and path.is_file()]
    if not found:
        raise InputError(f"{masks} holds no mask; expected .nii or .nii.gz files")
    return found


def series_of_mask(path: Path, series: list[Series], *, known: bool) -> Series:
    """Find the series that a mask lies on.

    Two patients may have series on the very same grid. So the case is told by the name of the
    mask where a table gives names, and otherwise all series must be of one patient.

    Args:
        path: of the mask; ``<case>_<sequence>_mask.nii.gz``, or another name with the case first.
        series: of the tree.
        known: whether cases and sequences are those of a table.

    Raises:
        InputError: there is none, or several.
    """
    from ..segmentation.dicom_segmentation import lies_on

    stem = path.name.partition(".nii")[0]
    if known:
        named = [one for one in series if re.match(rf"{re.escape(one.case)}(?![A-Za-z0-9])", stem)]
        case = max((one.case for one in named), key=len, default="")
        if not case:
            raise InputError("its name begins with no case of the table; expected <case>_…")
        parts = re.split(r"[-_.]", stem[len(case) :].lower())
        used = [one for one in named if one.case == case and one.use == "yes" and one.stack]
        candidates = [one for one in used if one.sequence in parts] or used
    else:
        candidates = [one for one in series if one.stack]
        if len({one.header.patient for one in series}) > 1:
            raise InputError(
                "the series are of several patients: say which by --table series.csv, and name the "
                "mask <case>_<sequence>_mask.nii.gz"
            )
    fitting = [one for one in candidates if one.stack and lies_on(path, one.stack)]
    if not fitting:
        raise InputError(
            f"it lies on none of {len(candidates)} series: give the mask on the grid of a series, "
            "as cggm restore writes it"
        )
    if len(fitting) > 1 and not known:
        raise InputError(
            f"{len(fitting)} series have its grid ({some([one.where for one in fitting])}): give "
            "the folder of one of them"
        )
    return next((one for one in fitting if one.sequence == "t1ce"), fitting[0])
