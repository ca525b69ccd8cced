"""The cases to segment: of a folder in any of the known layouts, or of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ....data.brats.case_files import Listing, holds_nifti, is_dicom, list_folder
from ....data.brats.cases import Case
from ....data.errors import InputError, problem_report
from ....data.extras import optional
from ....data.files import read_json
from ....data.patients import patient_and_day
from ..output_folder import NAMES
from ..preparation.case_list import find_cases_to_prepare
from ..quality.findings import Finding, finding
from .left_out import look_beside
from .table import cases_of_table

_TASKS = ("msd", "nnunet")  # layouts whose folders are not those of patients


class Told(NamedTuple):
    """What is known of a case before it is read: who, when, and what is odd about it."""

    subject: str
    date: str | None
    findings: tuple[Finding, ...] = ()


@dataclass
class Found:
    """What there is to segment.

    Attributes:
        cases: by name.
        problems: the reason for each that cannot be begun.
        rows: of a table, by case.
        findings: what is odd about the files of a case, before any is read.
    """

    cases: list[Case]
    problems: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)

    def told(self, case: Case) -> Told:
        """Say who and when: what the table tells, or else :func:`subject_and_date`."""
        subject, when = subject_and_date(case)
        row = self.rows.get(case.name, {})
        return Told(
            row.get("subject") or subject,
            row.get("date") or when,
            tuple(self.findings.get(case.name, ())),
        )


def find_cases_to_segment(
    source: Path, *, layout: str = "auto", say: Callable[[str], object] = print
) -> Found:
    """List the cases of a folder, whatever their names, or of a table; and what is wrong.

    Args:
        source: a folder of cases or of one, or a table, see :func:`.cases_of_table`.
        layout: as for :func:`.find_cases_to_prepare`.
        say: gets a sentence for each kind of file that is not used.

    Raises:
        InputError: nothing is recognized.
    """
    if source.is_file():
        return Found(*cases_of_table(source))
    listing = list_folder(source)
    cases, problems = find_cases_to_prepare(source, layout=layout, say=say)
    if layout == "auto" and not any(case.layout in _TASKS for case in cases):
        for child in _left_over(listing, cases, problems):
            _add(child, listing, cases, problems, say)
    cases, findings = look_beside(listing, cases, problems)
    for case in [case for case in cases if case.name.lower() in NAMES]:
        cases.remove(case)
        problems[case.name] = f"{case.name} is a name of the output folder: rename the case"
    return Found(sorted(cases, key=lambda case: case.name), problems, findings=findings)


def refuse_within(output: Path, source: Path) -> None:
    """Refuse an output folder that lies in that of the data, or is it; it need not be there."""
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"the output folder {output} lies in {source}, where its files would be taken for "
            "cases: choose one beside it"
        )


def _add(
    child: Path,
    listing: Listing,
    cases: list[Case],
    problems: dict[str, str],
    say: Callable[[str], object],
) -> None:
    """Look for cases in a folder beside those of others, whose names may be of another layout."""
    if not any(child in path.parents for path in listing.nifti):
        problems[child.name] = f"{child} holds no NIfTI file"
        return
    try:
        more, faults = find_cases_to_prepare(child, say=say)
    except InputError as error:
        problems[child.name] = str(error)
        return
    problems |= faults
    for case in more:
        if any(case.name == other.name for other in cases):
            problems[child.name] = f"{child}: another case is called {case.name}: rename one"
        else:
            cases.append(case)


def _left_over(listing: Listing, cases: Iterable[Case], problems: Mapping[str, str]) -> list[Path]:
    """Folders beside those of patients of which nothing is used, though they seem to hold one."""
    used = {
        listing.root / source.path.relative_to(listing.root).parts[0]
        for case in cases
        for source in case.images.values()
    }
    filled = {folder for path in listing.files for folder in path.parents}
    nifti = {folder for path in listing.nifti for folder in path.parents}
    bids = any(case.layout == "bids" for case in cases)
    return [
        folder
        for folder in listing.folders
        if folder.parent == listing.root
        and folder not in used
        and folder.name not in problems
        and (folder in nifti or folder not in filled)
        and (folder.name.startswith("sub-") or not bids)
    ]


def holds_dicom_alone(source: Path) -> bool:
    """Whether a folder has DICOM files, and no NIfTI file that could be a case."""
    if not source.is_dir() or holds_nifti(source):
        return False
    files = (path for path in source.rglob("*") if path.is_file())  # a PACS goes deep
    return any(is_dicom(path) for path in islice(files, 20))


def find_cases_of_dicom(
    source: Path,
    converted: Path,
    *,
    say: Callable[[str], object] = print,
    show: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Found:
    """Convert a tree of DICOM files, see :func:`.convert_tree`, and list its cases.

    Args:
        source: the tree.
        converted: where its cases are written.
        say: gets a line for each case.
        show: goes through the files as they are read.

    Raises:
        InputError: no case can be begun.
    """
    optional("pydicom", "dicom", f"{source} holds DICOM files; reading them")
    from ....data.dicom.table import TABLE
    from ....data.dicom.tree import convert_tree

    result = convert_tree(source, converted, say=say, show=show)
    ask = f"it waits for you: say in {converted / TABLE} which series are used (column use)"
    problems = result.failed | dict.fromkeys(result.waiting, ask)
    if not any(folder.name not in problems for folder in converted.iterdir() if folder.is_dir()):
        raise InputError(problem_report(str(source), list(problems.values())))
    found = find_cases_to_segment(converted, say=say)
    found.cases = [case for case in found.cases if case.name not in problems]
    found.problems |= problems
    for name, sentences in result.refused.items():
        found.findings[name] = [finding("series_refused", sentence) for sentence in sentences]
    return found


def subject_and_date(case: Case) -> tuple[str, str | None]:
    """Say who and when, where a name or the record of ``cggm dicom convert`` tells it.

    Returns:
        The subject, and the day (``2024-03-01``), the session of BIDS (``ses-02``), or the day
        after the first examination (``day 84``); None where nothing tells it.

    >>> subject_and_date(Case("P01_2024-03-01", {}, None, None, "brats2018"))
    ('P01', '2024-03-01')
    >>> subject_and_date(Case("P01_20240301", {}, None, None, "brats2018"))
    ('P01', '2024-03-01')
    >>> subject_and_date(Case("sub-01_ses-20240301", {}, None, None, "bids"))
    ('sub-01', '2024-03-01')
    """
    if (day := _day_of_dicom(case)) is not None:
        return case.name.rpartition("-")[0], f"day {day}"
    return patient_and_day(case.name)


def _day_of_dicom(case: Case) -> int | None:
    """The day in the record that `cggm dicom convert` wrote beside the images."""
    for source in case.images.values():
        path = source.path.with_name(f"{case.name}.json")
        try:
            record = read_json(path)
            if record["format"] == "cggm case of DICOM":
                return int(record["day"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None
    return None


def with_sequences(case: Case, sequences: Iterable[str]) -> Case:
    """Keep the images that a network can take, in its order.

    Raises:
        InputError: there is none.
    """
    images = {name: case.images[name] for name in sequences if name in case.images}
    if not images:
        raise InputError(
            f"case {case.name} has {', '.join(case.images)}; expected one or more of "
            f"{', '.join(sequences)}, which the network was trained with"
        )
    return replace(case, images=images)
