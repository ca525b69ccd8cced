"""A run over many cases: what is finished is left, what fails stops no other, tables grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ....data.brats.cases import Case
from ....data.brats.conventions import told_in
from ....data.errors import InputError, some
from ....data.files import write_csv, write_text
from ....data.identity import digest
from ....data.locks import InUse
from ..one_by_one import BUSY, LOCKS, case_lock, reason_of_failure, tables_lock, update_failed
from ..output_folder import MARK, VOLUMES
from ..reliability import joined
from .case import Stages, Tool, segment_case, tell_anew
from .cases import Found, Told, with_sequences
from .record import CaseRecord, changed_files, finished_records, is_made_from, read_record, row_of

Failure = tuple[str, str]  # the stage, and the reason


@dataclass
class Outcome:
    """What became of the cases of a run.

    Attributes:
        done: cases that were segmented now, with their records.
        earlier: names of those that were finished before.
        failed: stage and reason of each of the others.
        elsewhere: names of those that another process has in hand.
    """

    done: dict[str, CaseRecord] = field(default_factory=dict)
    earlier: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def segment_cases(
    found: Found, output: Path, tool: Tool, *, say: Callable[[str], object] = print
) -> Outcome:
    """Segment cases into `output`, a folder for each; the tables grow with them.

    A case that is finished, from the same files by the same model with the same settings, is left
    as it is; one that another process has in hand is left to it. One at which a process was killed
    comes last.

    Args:
        found: from :func:`.find_cases_to_segment`.
        output: from :func:`claim_output`.
        tool: what segments.
        say: gets a line for each case, and for each new subset of sequences what it is worth.

    Raises:
        InputError: the tables cannot be written.
    """
    outcome = Outcome(failed={name: ("find", why) for name, why in found.problems.items()})
    names = {case.name for case in found.cases}
    tables = _Tables(output, outcome, names)
    cases = sorted(found.cases, key=lambda case: _begun(output, case.name).exists())
    clock, said = _Remaining(len(cases)), set[str]()
    try:
        for number, case in enumerate(cases, 1):
            tables.write()
            line = _take(case, output, Stages(say), tool, outcome, found.told(case))
            record = outcome.done.get(case.name)
            if record is not None and (worth := _worth(record)) not in said:
                said.add(worth)
                say(worth)
            left = clock.after(number, segmented=record is not None)
            say(f"{number}/{len(cases)}{left} {case.name}: {line}")
    finally:
        tables.write(now=True)
    return outcome


def claim_output(output: Path, source: Path, cases: Sequence[Case] | None) -> None:
    """Make a folder the output of the cases of another folder, unless it holds something else.

    Args:
        output: the folder, which exists.
        source: of the cases.
        cases: None where they are not known yet; then the output of any other folder is refused.

    Raises:
        InputError: it holds files of another kind, or masks of another data set.
    """
    mark, origin = output / MARK, digest(str(source.resolve()))
    entries = [path.name for path in output.iterdir() if not path.name.startswith(".")]
    if entries and not mark.is_file():
        raise InputError(
            f"{output} holds {some(sorted(entries), 3)} and is no output folder of cggm segment: "
            "choose another one"
        )
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() != origin:
        _refuse_others(output, cases)
    write_text(mark, f"{origin}\n")


def _refuse_others(output: Path, cases: Sequence[Case] | None) -> None:
    """Refuse to replace masks of images that come from elsewhere under the same names."""
    if cases is None:
        raise InputError(f"{output} holds results of another folder: choose another output folder")
    records = {record["case"]: record for record in finished_records(output)}
    others = [
        case.name
        for case in cases
        if case.name in records and not is_made_from(records[case.name], case)
    ]
    if others:
        raise InputError(
            f"{output} holds masks of other images with the same names ({some(others, 3)}), from "
            "another folder: choose another output folder"
        )


def _take(
    case: Case,
    output: Path,
    stages: Stages,
    tool: Tool,
    outcome: Outcome,
    told: Told,
) -> str:
    """Segment one case; say in a line what became of it."""
    begun = _begun(output, case.name)
    try:
        case, told = with_sequences(case, tool.segmenter.sequences), tool.told(case, told)
        with case_lock(output, case.name):
            if is_finished(case, output / case.name, tool):
                outcome.earlier.append(case.name)
                tell_anew(output / case.name, told)
                changed = changed_files(output / case.name)
                return "finished before" + (f"; changed since: {some(changed)}" if changed else "")
            begun.touch()
            try:
                record = segment_case(case, output, tool, stages, told)
            finally:
                begun.unlink(missing_ok=True)
    except InUse:
        outcome.elsewhere.append(case.name)
        return BUSY
    except Exception as error:  # a fault of one case, or of ours in it, must not stop the others
        outcome.failed[case.name] = stages.current, (reason := reason_of_failure(error))
        return f"FAILED ({stages.current}): {reason}"
    outcome.done[case.name] = record
    return _line(record)


def is_finished(case: Case, folder: Path, tool: Tool) -> bool:
    """Whether a case was segmented before: from the same files, by the same model, alike."""
    try:
        record = read_record(folder)
    except InputError:
        return False
    alike = (record["model"], record["settings"]) == (tool.model, asdict(tool.settings))
    return alike and record["inputs"].keys() == case.images.keys() and is_made_from(record, case)


def _begun(output: Path, case: str) -> Path:
    """A file that is there while a case is in hand, and afterwards if the process was killed."""
    return output / LOCKS / f"{case}.begun"


class _Tables:
    """The tables of a run: rows of all finished cases, and of those that failed, now or before.

    All records are read for them, so they are written as often as takes a twentieth of the time.
    """

    def __init__(self, output: Path, outcome: Outcome, names: set[str]) -> None:
        self.output, self.outcome, self.names = output, outcome, names
        self._due = 0.0

    def write(self, *, now: bool = False) -> None:
        """Write them where it is time to, or `now`."""
        start = time.monotonic()
        if now or start >= self._due:
            with tables_lock(self.output):
                self._write()
            self._due = start + 20 * (time.monotonic() - start)

    def _write(self) -> None:
        failed, table = self.outcome.failed, self.output / VOLUMES
        finished = (r for r in finished_records(self.output) if r["case"] not in failed)
        rows = [row_of(record, self.output / record["case"]) for record in finished]
        if rows:
            write_csv(table, rows)
        else:
            table.unlink(missing_ok=True)
        reasons = {
            name: {"case": name, "stage": stage, "reason": reason}
            for name, (stage, reason) in failed.items()
        }
        update_failed(self.output, reasons, self.names.difference(row["case"] for row in rows))


def _line(record: CaseRecord) -> str:
    volumes = record["volumes_ml"]
    told = {region: volumes[region] for region in told_in(volumes)}
    figures = [f"{name} {'–' if ml is None else f'{ml:.1f} ml'}" for name, ml in told.items()]
    how = f"{joined(record['sequences'])}{', prepared' if record['prepared'] else ''}"
    lines = [f"{', '.join(figures)} ({how}); {sum(record['seconds'].values()):.0f} s"]
    lines += [f"{each['severity']}: {each['sentence']}" for each in record["findings"]]
    return "\n    ".join([*lines, *record["remarks"]])


def _worth(record: CaseRecord) -> str:
    return f"{joined(record['sequences'])}: {record['expected']}"


class _Remaining:
    """The time that the rest of the cases will take, by those that were segmented so far."""

    def __init__(self, cases: int) -> None:
        self.cases, self._done, self._spent = cases, 0, 0.0
        self._last = time.monotonic()

    def after(self, number: int, *, segmented: bool) -> str:
        """Say in brackets what is left after a case."""
        now = time.monotonic()
        if segmented:
            self._done, self._spent = self._done + 1, self._spent + now - self._last
        self._last = now
        left = self.cases - number
        if not left or not self._done:
            return ""
        minutes = left * self._spent / self._done / 60
        if minutes < 1:
            return " (less than a minute left)"
        hours, rest = divmod(round(minutes), 60)
        return f" (about {f'{hours} h ' if hours else ''}{rest} min left)"
