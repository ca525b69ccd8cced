"""All pages of an output folder; what is wrong with one case is said, and stops no other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ....data.errors import InputError
from ....data.files import write_text
from ..output_folder import OVERVIEW, case_folders
from .pages import overview_html, write_case_page
from .records import Record, failed_cases, preparation_of, read_record


@dataclass
class Outcome:
    """What became of the pages.

    Attributes:
        written: cases that got a page now.
        failed: the reason for each case that has none, or whose record cannot be read.
    """

    written: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def write_reports(
    out: Path, cases: Collection[str] | None = None, say: Callable[[str], object] = print
) -> Outcome:
    """Write the pages of cases, ``<case>/<case>.html``, and that of all, ``index.html``.

    Each page is there whole or not at all. A case whose files cannot be used is listed in the
    overview with the reason.

    Args:
        out: the output folder of ``cggm segment``.
        cases: those that get a page; None for all. The overview has all in any case.
        say: gets a line for each page.

    Raises:
        InputError: the folder has no cases, or it cannot be written.
    """
    failed, outcome = _failed_before(out), Outcome()
    fails_now = {row["case"] for row in failed}  # an earlier result of these is no result
    folders = [folder for folder in case_folders(out) if folder.name not in fails_now]
    if not folders and not failed:
        raise InputError(
            f"there is no segmented case in {out}: give the output folder of cggm segment"
        )
    records: list[Record] = []
    preparations = {folder.name: preparation_of(out, folder.name) for folder in folders}

    def overview(shown: list[Record]) -> str:
        pages = [r.case for r in shown if (out / r.case / f"{r.case}.html").is_file()]
        title = out.resolve().name
        return overview_html(shown, failed, title=title, linked=pages, preparations=preparations)

    for number, folder in enumerate(folders, 1):
        try:
            record = read_record(folder)
            overview([record])  # one that cannot be shown must not take the others along
            records.append(record)
            if cases is None or folder.name in cases:
                write_case_page(folder, record)
                outcome.written.append(folder.name)
                say(f"{number}/{len(folders)} {folder.name}")
        except Exception as error:  # a fault of one case must not stop the others
            reason = _reason(error)
            outcome.failed[folder.name] = reason
            say(f"{number}/{len(folders)} {folder.name}: FAILED: {reason}")
    failed += [{"case": c, "stage": "report", "reason": r} for c, r in outcome.failed.items()]
    write_text(out / OVERVIEW, overview(records))
    return outcome


def _failed_before(out: Path) -> list[dict[str, str]]:
    try:
        return failed_cases(out)
    except InputError as error:
        return [{"case": "", "stage": "report", "reason": str(error)}]


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
