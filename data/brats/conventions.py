"""Label conventions of the BraTS years: what a value in a file means; and the regions.

Inside the program a voxel's class is 0 background, 1 NCR (necrotic core), 2 ED (edema), 3 ET
(enhancing tumor) or 4 RC (resection cavity, which is no tumor). On disk the same value means
different things in different years: 4 is ET up to 2021, the resection cavity in 2024 and edema in
children, and the Medical Segmentation Decathlon swaps 1 and 2. So a convention is proven by the
file layout or chosen by the user, never guessed from the values.

Sources: Baid et al., arXiv 2107.02314 (2021); Adewole et al., arXiv 2305.19369 (2023); de Verdier
et al., arXiv 2405.18368 (2024, post-treatment); Kazerooni et al., arXiv 2305.17033 and 2404.15009
(BraTS-PEDs 2023 and 2024); Antonelli et al., Nature Communications 2022 (MSD).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from ..errors import InputError
from .checks import plural

if TYPE_CHECKING:
    import torch

CLASSES = ("background", "NCR", "ED", "ET", "RC")
CAVITY = CLASSES.index("RC")

# The parts of the core that do not enhance, which children's tumors have more of, are one class.
_CLASS_OF = {
    "background": 0,
    "NCR": 1,
    "NC": 1,  # non-enhancing component: NET, CC and necrosis
    "NET": 1,  # non-enhancing tumor
    "CC": 1,  # cystic component
    "ED": 2,
    "ET": 3,
    "resection cavity": CAVITY,
}

REGIONS = ("WT", "TC", "ET")
REGION_CLASSES: Mapping[str, tuple[int, ...]] = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
# RC is a region only of networks that tell it.
ALL_REGIONS: Mapping[str, tuple[int, ...]] = {**REGION_CLASSES, "RC": (CAVITY,)}
REGION_NEEDS: Mapping[str, str] = {"ET": "t1ce"}  # without contrast nothing enhances

_ROUNDING = 1e-3  # a label may be stored as 0.9999; anything further off was interpolated
_UNKNOWN = 255

_Array = TypeVar("_Array", np.ndarray, "torch.Tensor")


class UnknownConvention(InputError):
    """Nothing tells what the values of some labels mean, and the user has not said it."""


@dataclass(frozen=True)
class LabelConvention:
    """The meaning of each value of a label file.

    Attributes:
        name: the name used in settings, such as `brats2021`.
        values: what each value in a file stands for, apart from 0, which is background.
    """

    name: str
    values: Mapping[int, str]

    @property
    def classes(self) -> dict[int, int]:
        """The class of each value."""
        return {value: _CLASS_OF[meaning] for value, meaning in self.values.items()}

    @property
    def has_cavity(self) -> bool:
        """Whether a value stands for the resection cavity."""
        return CAVITY in self.classes.values()

    def to_classes(self, array: np.ndarray, where: str) -> np.ndarray:
        """Translate file values into classes.

        Args:
            array: values as read, any shape, integers or floats; floats within 1e-3 of an integer
                are rounded.
            where: case and file for the error message.

        Returns:
            uint8 array of the same shape with classes 0 to 4; 4 where there is a cavity.

        Raises:
            InputError: a value is unknown to this convention, is no integer or not finite.
        """
        values = as_integers(array, where)
        table = np.full(256, _UNKNOWN, np.uint8)
        for value, meaning in {0: "background", **self.values}.items():
            table[value] = _CLASS_OF[meaning]
        if values.min() < 0 or values.max() > 255:
            raise InputError(self._unknown_values(values, where))
        classes = table[values.astype(np.uint8, copy=False)]
        if classes.max() == _UNKNOWN:
            raise InputError(self._unknown_values(values, where))
        return classes

    def from_classes(self, classes: np.ndarray) -> np.ndarray:
        """Translate classes 0 to 4 into file values (uint8, same shape).

        Where several values are one class, the first of them is written.

        Raises:
            InputError: there is a resection cavity, and this convention has no value for it.
            ValueError: a class other than 0 to 4.
        """
        table = np.zeros(len(CLASSES), np.uint8)
        for value, class_ in reversed(self.classes.items()):
            table[class_] = value
        if classes.min() < 0 or classes.max() >= len(CLASSES):
            found = sorted(set(np.unique(classes).tolist()) - set(range(len(CLASSES))))
            raise ValueError(f"classes must be 0 to {len(CLASSES) - 1}; found {found[:5]}")
        if not self.has_cavity and (cavity := int((classes == CAVITY).sum())):
            raise InputError(
                f"the mask has a resection cavity ({plural(cavity, 'voxel')}), for which the label "
                f"convention {self} has no value: choose {cavity_conventions()}"
            )
        return table[classes.astype(np.uint8, copy=False)]

    def __str__(self) -> str:
        meanings = ", ".join(f"{value} {meaning}" for value, meaning in self.values.items())
        return f"{self.name} (0 background, {meanings})"

    def _unknown_values(self, values: np.ndarray, where: str) -> str:
        found, counts = np.unique(values, return_counts=True)
        unknown = [
            (int(value), int(count))
            for value, count in zip(found, counts, strict=True)
            if value != 0 and int(value) not in self.values
        ]
        listed = ", ".join(
            f"label {value} in {plural(count, 'voxel')}" for value, count in unknown[:5]
        )
        more = f" and {len(unknown) - 5} further values" if len(unknown) > 5 else ""
        return (
            f"{where} holds {listed}{more}; the label convention {self} has no such value; "
            f"{_meaning_elsewhere(unknown[0][0])}"
        )


CONVENTIONS: dict[str, LabelConvention] = {
    convention.name: convention
    for convention in (
        LabelConvention("brats2021", {1: "NCR", 2: "ED", 4: "ET"}),
        LabelConvention("brats2023", {1: "NCR", 2: "ED", 3: "ET"}),
        LabelConvention("brats2024", {1: "NCR", 2: "ED", 3: "ET", 4: "resection cavity"}),
        LabelConvention("brats_peds2023", {1: "NC", 2: "ED", 3: "ET"}),
        LabelConvention("brats_peds2024", {1: "ET", 2: "NET", 3: "CC", 4: "ED"}),
        LabelConvention("msd", {1: "ED", 2: "NCR", 3: "ET"}),
    )
}


def label_convention_named(name: str) -> LabelConvention:
    """Look a convention up.

    Raises:
        InputError: no convention has this name.
    """
    if name not in CONVENTIONS:
        known = "; ".join(str(convention) for convention in CONVENTIONS.values())
        raise InputError(f"no label convention is called {name!r}; known are: {known}")
    return CONVENTIONS[name]


def cavity_conventions() -> str:
    """Name the label conventions that have a value for the resection cavity."""
    return " or ".join(name for name, known in CONVENTIONS.items() if known.has_cavity)


def choose_convention(
    possible: Sequence[str],
    given: str | None,
    *,
    needed: bool,
    where: str,
    default: str | None = None,
) -> str | None:
    """Settle the label convention of a data set.

    Args:
        possible: the conventions its file names allow; a single one is proven by them.
        given: the user's choice, if any.
        needed: whether labels will be read.
        where: folder and layout for the error message.
        default: what is taken when the user chooses none.

    Raises:
        InputError: the choice is unknown or contradicts the file names.
        UnknownConvention: there is none to go by.
    """
    if given is not None:
        label_convention_named(given)
    if given in possible:
        return given
    proven = len(possible) == 1
    if given is not None:
        raise InputError(
            f"label_convention is {given!r}, but the file names of {where} "
            + (
                f"prove {possible[0]}: leave"
                if proven
                else f"mean {' or '.join(possible)}: correct"
            )
            + f" label_convention{' out' if proven else ''}; if the labels were converted to "
            f"{given}, rename the files the way that data set names them"
        )
    if proven or default in possible:
        return default or possible[0]
    if needed:
        meanings = "; ".join(str(CONVENTIONS[name]) for name in possible)
        raise UnknownConvention(
            f"label_convention is not given, and the file names of {where} do not tell it: choose "
            f"{' or '.join(possible)}; one value means different things in them, so it cannot be "
            f"guessed: {meanings}"
        )
    return None


def region_mask(classes: _Array, region: str) -> _Array:
    """Mark one region in a class array or tensor.

    Args:
        classes: classes 0 to 4, any shape, NumPy or torch.
        region: WT (whole tumor, classes 1 to 3), TC (tumor core, 1 and 3), ET (3) or RC
            (resection cavity, 4).

    Returns:
        Boolean array or tensor of the same shape.
    """
    if region not in ALL_REGIONS:
        raise ValueError(f"no region is called {region!r}; known are {list(ALL_REGIONS)}")
    first, *others = ALL_REGIONS[region]
    mask = cast(_Array, classes == first)
    for other in others:
        mask = cast(_Array, mask | (classes == other))
    return mask


def told_in(figures: Collection[str]) -> tuple[str, ...]:
    """Regions of a table of figures: WT, TC and ET, and RC where the table has it."""
    return (*REGIONS, "RC") if "RC" in figures else REGIONS


def region_masks(classes: _Array, regions: Sequence[str] = REGIONS) -> dict[str, _Array]:
    """Mark regions: one boolean array or tensor for each, in their order."""
    return {region: region_mask(classes, region) for region in regions}


def region_volumes(
    mask: np.ndarray, voxel_ml: float, regions: Sequence[str] = REGIONS
) -> dict[str, float]:
    """Volume of regions in ml.

    Args:
        mask: classes 0 to 4, any shape.
        voxel_ml: volume of a voxel in milliliters.
        regions: those wanted.
    """
    parts = region_masks(mask, regions)
    return {region: float(part.sum() * voxel_ml) for region, part in parts.items()}


def as_integers(array: np.ndarray, where: str) -> np.ndarray:
    """Whole numbers as they are, floats within 1e-3 of one rounded.

    Args:
        array: values as read, any shape.
        where: case and file for the error message.

    Raises:
        InputError: a value is between whole numbers, or not finite.
    """
    if array.dtype.kind in "iub":
        return array
    if not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"{where} holds {plural(count, 'label voxel')} that are NaN or infinite; expected "
            "whole numbers: export the label again"
        )
    rounded = np.rint(array)
    off = np.abs(array - rounded) > _ROUNDING
    if off.any():
        example = float(array[off].flat[0])
        raise InputError(
            f"{where} holds {plural(int(off.sum()), 'label voxel')} between whole numbers such as "
            f"{example:.4g}; expected whole numbers: it was probably resampled with interpolation, "
            "resample it with nearest neighbor"
        )
    return rounded.astype(np.int64)


def _meaning_elsewhere(value: int) -> str:
    known = [
        f"{convention.values[value]} in {name}"
        for name, convention in CONVENTIONS.items()
        if value in convention.values
    ]
    if not known:
        return f"{value} is in no known convention: is this the label file of another data set?"
    return (
        f"{value} is {' and '.join(known)}: choose the label_convention these labels were written "
        "in, or convert the file"
    )
