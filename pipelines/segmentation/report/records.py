"""What a page says of a case: its record, read from the folder and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ....data.brats.conventions import told_in
from ....data.files import read_json
from ....data.tables import read_rows
from ..one_by_one import FAILED
from ..output_folder import PREPARED, corrected_masks, not_a_record, read_content
from ..quality.findings import SEVERITIES, Finding


@dataclass(frozen=True)
class Record:
    """The record of a segmented case, as ``cggm segment`` leaves it.

    Attributes:
        volumes_ml: milliliters by region that the network tells; None where it cannot be told.
        expected_dice: percent by region, of this subset of the sequences.
        confidence: share by region.
        untold: why a region cannot be told.
        corrected: which of its masks was changed since, if any.
    """

    case: str
    sequences: tuple[str, ...]
    volumes_ml: Mapping[str, float | None]
    findings: tuple[Finding, ...] = ()
    subject: str | None = None
    date: str | None = None
    prepared: bool = False
    expected_dice: Mapping[str, float | None] | None = None
    expected: str = ""
    untold: Mapping[str, str] | None = None
    remarks: tuple[str, ...] = ()
    confidence: Mapping[str, float | None] | None = None
    label_convention: str | None = None
    mask: str | None = None
    native_masks: Mapping[str, str] | None = None
    inputs: Mapping[str, Mapping[str, str]] | None = None
    model: Mapping[str, Any] | None = None
    versions: Mapping[str, str] | None = None
    finished: str | None = None
    seconds: Mapping[str, float | None] | None = None
    corrected: str = ""

    @property
    def level(self) -> str:
        """The gravest severity of the findings; "note" also for remarks, "" where all is well."""
        found = {finding.severity for finding in self.findings}
        found |= {"note"} if self.notes else set()
        return next((severity for severity in SEVERITIES if severity in found), "")

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks, why regions cannot be told, and what was corrected, each sentence once."""
        corrected = (self.corrected,) if self.corrected else ()
        return tuple(dict.fromkeys((*corrected, *self.remarks, *(self.untold or {}).values())))

    @property
    def weights(self) -> tuple[str, ...]:
        """SHA-256 of each file of weights."""
        digests = (self.model or {}).get("sha256") or ()
        return (digests,) if isinstance(digests, str) else tuple(map(str, digests))

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the network was built and trained as."""
        return (self.model or {}).get("settings") or {}

    def of_region(self, table: Mapping[str, float | None] | None, region: str) -> float | None:
        """A figure of a region, None where there is none."""
        return (table or {}).get(region)


def read_record(folder: Path) -> Record:
    """Read the record of a finished case, ``<case>/<case>.json``.

    Raises:
        InputError: there is none, or it says something that it cannot mean.
    """
    content = read_content(folder)
    try:
        return record_of(content, corrected_masks(folder, content))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise not_a_record(folder, error) from error


def record_of(content: Mapping[str, Any], corrected: str = "") -> Record:
    """A record from plain values; entries that pages do not show are left out.

    Args:
        content: the values.
        corrected: what :func:`.corrected_masks` says.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no such record.
    """
    known = {field.name for field in fields(Record)}
    values = {key: value for key, value in content.items() if key in known and value is not None}
    for name, kind in _KINDS.items():
        if name in values and not isinstance(values[name], kind):
            raise TypeError(f"{name} is {values[name]!r}")
    for name in ("volumes_ml", "expected_dice", "confidence"):
        for region, figure in values.get(name, {}).items():
            if figure is not None and not isinstance(figure, int | float):
                raise TypeError(f"{name} of {region} is {figure!r}")
    return Record(
        **{
            **values,
            "corrected": corrected,
            "volumes_ml": {
                region: values["volumes_ml"].get(region) for region in told_in(values["volumes_ml"])
            },
            "sequences": tuple(map(str, values["sequences"])),
            "remarks": tuple(map(str, values.get("remarks", ()))),
            "findings": tuple(map(_finding, values.get("findings", ()))),
        }
    )


_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("case", "subject", "date", "expected", "label_convention"), str),
    **dict.fromkeys(("mask", "finished"), str),
    **dict.fromkeys(("sequences", "findings", "remarks"), list),
    **dict.fromkeys(("volumes_ml", "expected_dice", "confidence", "untold"), dict),
    **dict.fromkeys(("native_masks", "inputs", "model", "versions", "seconds"), dict),
}


def _finding(content: Mapping[str, Any]) -> Finding:
    severity = content["severity"]
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity!r}; it is one of {SEVERITIES}")
    return Finding(
        code=str(content["code"]),
        severity=severity,
        sentence=str(content["sentence"]),
        sequence=content.get("sequence"),
        remedy=str(content.get("remedy") or ""),
    )


def failed_cases(out: Path) -> list[dict[str, str]]:
    """Rows of ``failed.csv``: case, stage and reason; none without the file.

    Raises:
        InputError: the table cannot be read.
    """
    table = out / FAILED
    return read_rows(table, ("case", "stage", "reason")) if table.is_file() else []


def preparation_of(out: Path, case: str) -> Mapping[str, Any]:
    """Sections of the record of ``cggm prepare`` of a case; none where it cannot be read."""
    try:
        content = read_json(out / PREPARED / case / f"{case}.json")
    except (OSError, ValueError):
        return {}
    parts = content.items() if isinstance(content, dict) else ()
    return {name: part for name, part in parts if isinstance(part, dict)}
