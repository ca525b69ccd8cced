"""A folder of cases, prepared one by one: what is finished is left, what fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ....data.brats.cases import Case
from ....data.errors import InputError
from ....data.files import whole_folder, write_csv
from ....data.locks import InUse
from ..one_by_one import (
    BUSY,
    case_lock,
    is_replaceable,
    reason_of_failure,
    tables_lock,
    update_failed,
)
from .case import Settings, prepare_images
from .picture import draw_preparation
from .record import FORMAT, Record, is_finished, read_record, row_of, write_case

TABLE, PICTURES = "prepared.csv", "failed"


@dataclass
class Outcome:
    """What became of the cases of a run.

    Attributes:
        done: cases that were prepared now, with their records.
        earlier: names of those that were finished before.
        failed: the reason for each of the others.
        elsewhere: names of those that another process has in hand.
    """

    done: dict[str, Record] = field(default_factory=dict)
    earlier: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def prepare_cases(
    cases: list[Case],
    output: Path,
    settings: Settings,
    *,
    failed: dict[str, str] | None = None,
    say: Callable[[str], object] = print,
) -> Outcome:
    """Prepare cases into `output`, a folder for each.

    A folder appears whole or not at all. A case that is finished, from the same files with the same
    settings, is left as it is; one that another process has in hand is left to it.

    Args:
        cases: from :func:`.find_cases_to_prepare`.
        output: gets the folders, ``prepared.csv`` and, where there are any, ``failed.csv`` and
            pictures of those that failed.
        settings: the user's.
        failed: reasons why others could not even be begun, by case.
        say: gets a line for each case.

    Raises:
        InputError: the folder cannot be written.
    """
    outcome, names = Outcome(failed=dict(failed or {})), {case.name for case in cases}
    try:
        for number, case in enumerate(cases, 1):
            line = _take(case, output, settings, outcome)
            say(f"{number}/{len(cases)} {case.name}: {line}")
    finally:
        _write_tables(output, outcome, names)
    return outcome


def _take(case: Case, output: Path, settings: Settings, outcome: Outcome) -> str:
    """Prepare one case; say in a line what became of it."""
    try:
        with case_lock(output, case.name):
            if is_finished(case, output / case.name, settings):
                outcome.earlier.append(case.name)
                return "finished before"
            outcome.done[case.name] = record = prepare_case(case, output, settings)
    except InUse:
        outcome.elsewhere.append(case.name)
        return BUSY
    except Exception as error:  # a fault of one case, or of ours in it, must not stop the others
        outcome.failed[case.name] = reason = reason_of_failure(error)
        return f"FAILED: {reason}"
    return _line(record)


def prepare_case(case: Case, output: Path, settings: Settings) -> Record:
    """Prepare one case into a folder of `output`, in place of an earlier preparation.

    Raises:
        InputError: it cannot be prepared; where it got so far there is a picture below `output`.
    """
    target, picture = output / case.name, output / PICTURES / f"{case.name}.png"
    _replaceable(target)
    prepared = prepare_images(case, settings)
    if prepared.problems:
        draw_preparation(picture, prepared)
        raise InputError(
            f"case {case.name}: {'; '.join(prepared.problems)}. Look at {picture}: a sequence that "
            "is not of this head, or damaged, can be taken away to go without it"
        )
    with whole_folder(target, replace=_replaceable) as folder:
        record = write_case(prepared, case, folder, settings)
    picture.unlink(missing_ok=True)
    return record


def _replaceable(target: Path) -> bool:
    return is_replaceable(target, "prepared case", FORMAT)


def _line(record: Record) -> str:
    parts = [f"brain {record['brain']['ml']:.0f} ml"]
    for name, about in record["sequences"].items():
        if "shift_mm" in about:
            parts.append(f"{name} {about['turn_degrees']:.1f}° {about['shift_mm']:.1f} mm")
    lines = [f"{', '.join(parts)}; {record['seconds']['all']:.0f} s"]
    lines += [f"note: {note}" for note in record["notes"]]
    lines += [f"warning: {warning}" for warning in record["warnings"]]
    return "\n    ".join(lines)


def _write_tables(output: Path, outcome: Outcome, names: set[str]) -> None:
    """Write the rows of all prepared cases, and of those that failed, in this run or before."""
    with tables_lock(output):
        finished = write_table(output)
        failed = {name: {"case": name, "reason": why} for name, why in outcome.failed.items()}
        update_failed(output, failed, names.difference(finished))


def write_table(output: Path) -> list[str]:
    """Write the rows of all prepared cases of a folder, and give their names."""
    rows = [row_of(record) for record in finished_records(output)]
    write_csv(output / TABLE, rows)
    return [row["case"] for row in rows]


def finished_records(output: Path) -> Iterator[Record]:
    """The records of all finished cases of a folder."""
    for folder in sorted(output.iterdir()):
        if (folder / f"{folder.name}.json").is_file():
            with suppress(InputError):
                yield read_record(folder)
