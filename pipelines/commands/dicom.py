"""`cggm dicom`: MR series of a PACS as NIfTI cases, and masks as DICOM segmentations."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...data.brats.checks import plural
from ...data.brats.conventions import label_convention_named
from ...data.dicom.headers import read_tree
from ...data.dicom.names import name_cases
from ...data.dicom.series import Series, series_of
from ...data.dicom.table import TABLE, apply_table, read_table
from ...data.dicom.tree import convert_tree
from ...data.errors import InputError, some
from ..segmentation.output_folder import (
    CONVERTED,
    MARK,
    changed_since,
    not_a_record,
    read_content,
    record_file,
)
from .convert import show
from .start import make_writable

_HEADERS = partial(show, what="reading headers", unit="file")

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
    result = convert_tree(
        source, output, table=table, mapping=mapping, keep_ids=keep_ids, show=_HEADERS
    )
    if result.failed:
        raise typer.Exit(1)


@app.command()
def seg(
    masks: Annotated[
        Path, typer.Argument(help="A mask (NIfTI), a folder of them, or OUT of cggm segment.")
    ],
    source: Annotated[Path, typer.Argument(help="The folder of DICOM files.")],
    output: Annotated[Path, typer.Argument(help="Where the segmentations go.")],
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="series.csv, to tell the cases; by default that of cggm segment."
        ),
    ] = None,
    label_convention: Annotated[
        str | None,
        typer.Option(
            "--label_convention",
            help="What the values of the masks mean; by default what their records say, else "
            "brats2021.",
        ),
    ] = None,
) -> None:
    """Write masks as DICOM segmentations on the series that they lie on."""
    from ..segmentation.dicom_segmentation import read_mask, write_segmentation

    if label_convention is not None:
        label_convention_named(label_convention)
    files = find_masks(masks)
    if table is None and (masks / CONVERTED / TABLE).is_file():
        table = masks / CONVERTED / TABLE
    rows = read_table(table) if table else {}
    series = series_of(read_tree(source, _HEADERS))
    name_cases(series, {name: row["case"] for name, row in rows.items()})
    apply_table(series, rows)
    make_writable(output)
    problems = []
    for path in files:
        try:
            one = series_of_mask(path, series, known=bool(rows))
            assert one.stack is not None
            classes = read_mask(path, label_convention or convention_of(path), one.stack)
            untold = untold_of(path)
            target = output / f"{path.name.partition('.nii')[0]}.dcm"
            written = write_segmentation(classes, one.stack, target, enhancing=untold is None)
        except InputError as error:
            problems.append(f"{path.name}: {error}")
            continue
        line = one.where if untold is None else f"{one.where}; no segment for ET: {untold}"
        print(f"{target}: {line}{'' if written else ' (finished before)'}", flush=True)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(files) - len(problems)} of {plural(len(files), 'mask')} in {output}")
    if problems:
        raise typer.Exit(1)


def find_masks(masks: Path) -> list[Path]:
    """The mask that is given, those of a folder, or those of what ``cggm segment`` finished.

    Of a case that was prepared these are the masks on the grids of the original images.

    Raises:
        InputError: there is none.
    """
    if (masks / MARK).is_file():
        found = _masks_of_cases(masks)
    else:
        files = [masks] if masks.is_file() else sorted(masks.rglob("*"))
        found = [path for path in files if path.name.endswith((".nii", ".nii.gz"))]
    found = [path for path in found if path.is_file()]
    if not found:
        raise InputError(f"{masks} holds no mask; expected .nii or .nii.gz files")
    return found


def _masks_of_cases(output: Path) -> list[Path]:
    from ..segmentation.batch.record import finished_records

    return [
        output / record["case"] / name
        for record in finished_records(output)
        for name in record["native_masks"].values() or [record["mask"]]
    ]


def convention_of(mask: Path) -> str:
    """The label convention of a mask, as the record beside it says; brats2021 without one.

    Raises:
        InputError: the record, of ``cggm segment``, is damaged.
    """
    folder = mask.absolute().parent
    content = read_content(folder) if record_file(folder).is_file() else {}
    return str(content.get("label_convention", "brats2021"))


def untold_of(mask: Path) -> str | None:
    """Why a mask does not tell ET; None where it does, or somebody has corrected it.

    Raises:
        InputError: the record beside it, of ``cggm segment``, is damaged.
    """
    folder = mask.absolute().parent
    if not record_file(folder).is_file():
        return None
    record = read_content(folder)
    try:
        written = {name: size for name, size in record["files"].items() if name == mask.name}
        return None if changed_since(folder, written) else record["untold"].get("ET")
    except (KeyError, AttributeError) as error:
        raise not_a_record(folder, error) from error


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
