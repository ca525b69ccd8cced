"""A tree of DICOM files as a folder of NIfTI cases, with a table to confirm or edit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..brats.checks import plural
from ..brats.layouts import SEQUENCES
from ..errors import InputError, some
from ..files import write_csv
from .conversion import convert_case
from .headers import Contents, read_tree
from .names import name_cases, read_mapping, write_mapping
from .series import Series, check_use, choose, series_of
from .table import TABLE, apply_table, read_table, write_table

FAILED = "failed.csv"


@dataclass
class Converted:
    """What became of the cases of a tree that are not converted.

    Attributes:
        failed: the reason for each that cannot be.
        waiting: those with a series of which the user has to say whether it is used.
        refused: a sentence for each series of the others that is one of the sequences and cannot
            be used.
    """

    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)


def convert_tree(
    source: Path,
    output: Path,
    *,
    table: Path | None = None,
    mapping: Path | None = None,
    keep_ids: bool = False,
    say: Callable[[str], object] = print,
    show: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Converted:
    """Write a case for each examination, and ``series.csv``; what is finished is left.

    Args:
        source: the tree, however sorted.
        output: of the cases and the table.
        table: to follow in place of the output's own.
        mapping: a private file that keeps who the cases are.
        keep_ids: name cases by the patient's ID, not a number.
        say: gets a line for each case and each thing that is odd.
        show: goes through the files as they are read, perhaps with a bar.

    Raises:
        InputError: a table cannot be used, or nothing can be read or written.
    """
    given = table or output / TABLE
    rows = read_table(given) if table or given.exists() else {}
    contents = read_tree(source, show)
    series = series_of(contents)
    known = {name: row["case"] for name, row in rows.items()}
    name_cases(series, known | (read_mapping(mapping) if mapping else {}), keep_ids=keep_ids)
    choose(series)
    apply_table(series, rows)
    write_table(output / TABLE, series)
    if mapping:
        write_mapping(mapping, series)
    _say_contents(contents, series, source, say)
    try:
        return _convert_all(series, output, say)
    finally:
        write_table(output / TABLE, series)  # with what came to light as pixels were read


def _convert_all(series: Sequence[Series], output: Path, say: Callable[[str], object]) -> Converted:
    """Convert the cases that are decided."""
    cases: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        cases[one.case].append(one)
    result = Converted()
    for number, (case, group) in enumerate(sorted(cases.items()), 1):
        try:
            line = _take(case, group, output, result)
        except InputError as error:
            result.failed[case] = str(error)
            line = f"FAILED: {error}"
        say(f"{number}/{len(cases)} {case}: {line}")
    done = len(cases) - len(result.failed) - len(result.waiting)
    say(f"{done} of {plural(len(cases), 'case')} in {output}; all series in {output / TABLE}")
    if result.waiting:
        number = len(result.waiting)
        say(
            f"{plural(number, 'case')} {'waits' if number == 1 else 'wait'} for you "
            f"({some(result.waiting)}): in {output / TABLE} put yes or no in place of each ? of "
            "the column use, correct the column sequence, and run the same command again"
        )
    if result.failed:
        write_csv(output / FAILED, [{"case": k, "reason": v} for k, v in result.failed.items()])
        say(f"{plural(len(result.failed), 'case')} failed, see {output / FAILED}")
    else:
        (output / FAILED).unlink(missing_ok=True)
    return result


def _take(case: str, group: list[Series], output: Path, result: Converted) -> str:
    """Convert one case; say in a line what became of it."""
    if problems := check_use(group):
        raise InputError("; ".join(problems))
    open_questions = [one for one in group if one.use == "?"]
    if open_questions:
        result.waiting.append(case)
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
    faulty = [one for one in group if one.sequence and one.problem]
    refused = [f"{one.where}: {one.reason}" for one in faulty]
    if faulty:
        result.refused[case] = [f"{one.numbered}, {one.sequence}, {one.reason}" for one in faulty]
    preferred = [f"{one.where}: {one.reason}" for one in used if "preferred to" in one.reason]
    return "\n    ".join([line if written else f"{line} (finished before)", *refused, *preferred])


def _say_contents(
    contents: Contents, series: Sequence[Series], source: Path, say: Callable[[str], object]
) -> None:
    patients = {one.header.patient for one in series}
    studies = {one.case for one in series}
    say(
        f"{len(series)} series of {plural(len(studies), 'examination')} of "
        f"{plural(len(patients), 'patient')}"
    )
    for path, reason in list(contents.unreadable.items())[:10]:
        say(f"note: {path.relative_to(source)} cannot be read: {reason}")
    if len(contents.unreadable) > 10:
        say(f"note: {len(contents.unreadable) - 10} more files cannot be read")
