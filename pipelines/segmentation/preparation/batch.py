"""A folder of cases, prepared one by one: what is finished is left, what fails stops no other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ....data.brats.cases import Case
from ....data.errors import InputError
from ....data.files import whole_folder, write_csv
from ....data.locks import lock_and_wait, lock_or_refuse
from .case import Settings, prepare_images
from .picture import draw_preparation
from .record import Record, is_finished, read_record, row_of, write_case

TABLE, FAILED, PICTURES = "prepared.csv", "failed.csv", "failed"
_LOCKS = ".locks"


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
    outcome = Outcome(failed=dict(failed or {}))
    try:
        for number, case in enumerate(cases, 1):
            line = _take(case, output, settings, outcome)
            say(f"{number}/{len(cases)} {case.name}: {line}")
    finally:
        _write_tables(output, outcome)
    return outcome


def _take(case: Case, output: Path, settings: Settings, outcome: Outcome) -> str:
    """Prepare one case; say in a line what became of it."""
    busy = "left to another process, which has it in hand"
    try:
        with lock_or_refuse(output / _LOCKS / f"{case.name}.lock", busy):
            if is_finished(case, output / case.name, settings):
                outcome.earlier.append(case.name)
                return "finished before"
            outcome.done[case.name] = record = _prepare(case, output, settings)
    except Exception as error:  # a fault of one case, or of ours in it, must not stop the others
        if str(error) == busy:
            outcome.elsewhere.append(case.name)
            return busy
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        outcome.failed[case.name] = reason
        return f"FAILED: {reason}"
    return _line(record)


def _prepare(case: Case, output: Path, settings: Settings) -> Record:
    target, picture = output / case.name, output / PICTURES / f"{case.name}.png"
    _is_ours(target)
    prepared = prepare_images(case, settings)
    if prepared.problems:
        draw_preparation(picture, prepared)
        raise InputError(
            f"case {case.name}: {'; '.join(prepared.problems)}. Look at {picture}: a sequence that "
            "is not of this head, or damaged, can be taken away to go without it"
        )
    with whole_folder(target, replace=_is_ours) as folder:
        record = write_case(prepared, case, folder, settings)
    picture.unlink(missing_ok=True)
    return record


def _is_ours(target: Path) -> bool:
    """Whether a folder may be replaced: an earlier preparation, never anything else."""
    if target.is_dir() and any(target.iterdir()) and not (target / f"{target.name}.json").is_file():
        raise InputError(
            f"{target} holds files and is no prepared case; choose another output folder, not the "
            "one with the data"
        )
    return True


def _line(record: Record) -> str:
    parts = [f"brain {record['brain']['ml']:.0f} ml"]
    for name, about in record["sequences"].items():
        if "shift_mm" in about:
            parts.append(f"{name} {about['turn_degrees']:.1f}° {about['shift_mm']:.1f} mm")
    lines = [f"{', '.join(parts)}; {record['seconds']['all']:.0f} s"]
    lines += [f"note: {note}" for note in record["notes"]]
    lines += [f"warning: {warning}" for warning in record["warnings"]]
    return "\n    ".join(lines)


def _write_tables(output: Path, outcome: Outcome) -> None:
    """Write the rows of all prepared cases, and of those that failed, in this run or before."""
    with lock_and_wait(output / _LOCKS / "tables.lock"):
        rows = [row_of(record) for record in finished_records(output)]
        write_csv(output / TABLE, rows)
        names = {row["case"] for row in rows}
        failed = {name: why for name, why in _failed_before(output).items() if name not in names}
        failed = dict(sorted({**failed, **outcome.failed}.items()))
        if failed:
            write_csv(output / FAILED, [{"case": k, "reason": v} for k, v in failed.items()])
        else:
            (output / FAILED).unlink(missing_ok=True)


def finished_records(output: Path) -> Iterator[Record]:
    """The records of all finished cases of a folder."""
    for folder in sorted(output.iterdir()):
        if (folder / f"{folder.name}.json").is_file():
            with suppress(InputError):
                yield read_record(folder)


def _failed_before(output: Path) -> dict[str, str]:
    try:
        with open(output / FAILED, newline="", encoding="utf-8") as file:
            return {row["case"]: row["reason"] for row in csv.DictReader(file)}
    except (OSError, KeyError):
        return {}
