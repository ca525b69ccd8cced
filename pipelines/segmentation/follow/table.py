"""The table of patients and dates: volumes, diameters, their changes, and new lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....data.brats.checks import voxel_sizes
from ....data.brats.conventions import ALL_REGIONS, region_mask
from ....data.errors import InputError
from .bidimensional import Diameters, largest_product
from .new_lesions import NewLesion, new_lesions
from .places import place_of
from .visits import Patient, Visit

QUANTITIES = {**{f"{region}_ml": region for region in ALL_REGIONS}, "ET_mm2": "ET"}
REFERENCES = ("first", "preceding")


@dataclass
class Measured:
    """What is known of a patient at one date.

    Attributes:
        visit: the case.
        values: of each of `QUANTITIES`; None where it cannot be told.
        diameters: of the largest lesion of ET.
        changes: against the first and the preceding date, by column.
        new: lesions since the preceding date; None where they cannot be told.
        compared: how the two dates were laid over each other.
        remarks: what cannot be told, and what speaks against a change.
    """

    visit: Visit
    values: Mapping[str, float | None]
    diameters: Diameters | None
    changes: dict[str, float] = field(default_factory=dict)
    new: list[NewLesion] | None = None
    compared: str = ""
    remarks: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """A row of ``follow.csv``; what is not known is empty."""
        visit = self.visit
        row: dict[str, Any] = {"patient": visit.patient, "date": visit.date or ""}
        row |= {"case": visit.case, "sequences": "+".join(visit.sequences)}
        row |= {name: _rounded(value) for name, value in self.values.items()}
        longest, perpendicular = self.diameters[:2] if self.diameters else (None, None)
        row |= {"ET_longest_mm": _rounded(longest), "ET_perpendicular_mm": _rounded(perpendicular)}
        for name in _change_columns():
            row[name] = _rounded(self.changes.get(name))
        flag = "" if self.new is None else "yes" if self.new else "no"
        row |= {"new_lesion": flag, "new_lesion_ml": _rounded(self._new_ml())}
        return row | {"compared": self.compared, "remark": "; ".join(self.remarks)}

    def remark(self, sentence: str) -> None:
        """Add a sentence that was not said yet."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def _new_ml(self) -> float | None:
        return sum(lesion.ml for lesion in self.new) if self.new else None


def rows_of(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Rows of ``follow.csv``; RC, the cavity, has columns where a network told it."""
    rows = [one.row() for one in measured]
    told = any(row["RC_ml"] != "" for row in rows)
    return [{k: v for k, v in row.items() if told or not k.startswith("RC_")} for row in rows]


def measure(patient: Patient, smallest_ml: float) -> list[Measured]:
    """Measure every date of a patient, and its changes against the first and the preceding one.

    Args:
        patient: with one visit or more.
        smallest_ml: of a new lesion.

    Raises:
        InputError: a mask cannot be read.
    """
    dates = [_measured(visit) for visit in patient.visits]
    if patient.unordered is not None:
        for one in dates:
            one.remark(f"no changes: {patient.unordered}")
        return dates
    for before, one in zip(dates, dates[1:], strict=False):
        for reference, earlier in zip(REFERENCES, (dates[0], before), strict=True):
            _compare(one, earlier, reference)
            _warn_of_differences(one, earlier)
        _look_for_new(one, before.visit, smallest_ml)
    return dates


def _measured(visit: Visit) -> Measured:
    classes, affine = visit.classes()
    values = {f"{region}_ml": visit.volumes.get(region) for region in ALL_REGIONS}
    diameters = None
    if told := visit.volumes.get("ET") is not None:
        diameters = largest_product(region_mask(classes, "ET"), voxel_sizes(affine).tolist())
    product = (diameters.product_mm2 if diameters else 0.0) if told else None
    return Measured(visit, values | {"ET_mm2": product}, diameters, remarks=_remarks(visit))


def _compare(one: Measured, earlier: Measured, reference: str) -> None:
    for name, region in QUANTITIES.items():
        now, then = one.values[name], earlier.values[name]
        if now is None:
            continue  # the remark says so already
        if then is None:
            reason = earlier.visit.untold.get(region, f"{region} is not known")
            one.remark(f"no change of {region} since {earlier.visit.when}: {reason} there")
            continue
        one.changes[f"{name}_since_{reference}"] = now - then
        if then > 0:
            one.changes[f"{name}_since_{reference}_percent"] = 100 * (now / then - 1)
        elif now > 0:
            one.remark(f"no change of {region} in % since {earlier.visit.when}: it was empty")


def _warn_of_differences(one: Measured, earlier: Measured) -> None:
    now, then = one.visit, earlier.visit
    if set(now.sequences) != set(then.sequences):
        one.remark(
            f"other sequences than at {then.when} ({'+'.join(then.sequences)}): a change may be "
            "theirs"
        )
    if now.weights != then.weights:
        one.remark(f"other weights than at {then.when}: a change may be theirs")


def _look_for_new(one: Measured, earlier: Visit, smallest_ml: float) -> None:
    if one.values["ET_ml"] is None:
        return
    try:
        place = place_of(one.visit, earlier)
        classes, affine = one.visit.classes()
        tumor, tumor_affine = earlier.classes()
    except InputError as error:
        one.remark(f"new lesions cannot be told from {earlier.when}: {error}")
        return
    one.compared = place.how
    enhancing, tumor = region_mask(classes, "ET"), region_mask(tumor, "WT")
    one.new = new_lesions(enhancing, affine, tumor, tumor_affine, place.to_earlier, smallest_ml)


def _change_columns() -> list[str]:
    return [
        f"{name}_since_{reference}{unit}"
        for name in QUANTITIES
        for reference in REFERENCES
        for unit in ("", "_percent")
    ]


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 3)


def _remarks(visit: Visit) -> list[str]:
    changed = ["the mask was changed after it was written; all figures are of the changed one"]
    return [*visit.untold.values(), *(changed if visit.corrected else [])]
