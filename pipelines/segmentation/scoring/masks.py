"""The two masks of a case, read, checked against each other and split into regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from ....data.brats.checks import check_same_grid, plural, voxel_sizes
from ....data.brats.conventions import (
    REGION_CLASSES,
    as_integers,
    label_convention_named,
)
from ....data.brats.nifti import RasImage, read_nifti
from ....data.errors import InputError
from .pairs import Pair
from .surfaces import bounding_box

MOST_LABELS = 200  # in one case; with more it is an image


@dataclass(frozen=True)
class Regions:
    """Which regions a mask has.

    Args:
        convention: of the labels of BraTS; gives WT, TC and ET.
        labels: the labels of each region instead. With neither, every label is a region.

    Raises:
        InputError: both are given, no convention has this name, or a region has no label, or one
            that is no whole number above 0.
    """

    convention: str | None = None
    labels: Mapping[str, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if self.convention is not None:
            label_convention_named(self.convention)
            if self.labels is not None:
                raise InputError(
                    "label_convention and regions are both given; expected one: a convention gives "
                    "WT, TC and ET, and regions any others"
                )
        for name, values in (self.labels or {}).items():
            if not values or any(type(value) is not int or value < 1 for value in values):
                raise InputError(
                    f"region {name} has the labels {list(values)}; expected whole numbers above 0, "
                    "such as {WT: [1, 2, 4]}"
                )

    @property
    def names(self) -> list[str] | None:
        """Regions by name; None where the masks tell."""
        groups = self._groups
        return None if groups is None else list(groups)

    @property
    def _groups(self) -> Mapping[str, Sequence[int]] | None:
        return self.labels if self.convention is None else REGION_CLASSES

    def read(self, image: RasImage) -> np.ndarray:
        """Classes of BraTS, or else labels, as whole numbers.

        Raises:
            InputError: a value is no whole number, below 0, or unknown to the convention.
        """
        if self.convention is not None:
            convention = label_convention_named(self.convention)
            return convention.to_classes(image.voxels, image.where)
        values = as_integers(image.voxels, image.where)
        if values.min() < 0:
            raise InputError(
                f"{image.where} holds label {values.min()}; expected 0 for the background and "
                "whole numbers above: is it a mask?"
            )
        return values

    def masks(self, labels: Sequence[np.ndarray], where: str) -> dict[str, list[np.ndarray]]:
        """The mask of each region in each array that :meth:`read` gave.

        Raises:
            InputError: there are far too many labels for a mask.
        """
        groups = self._groups
        if groups is None:
            found = _labels_in(labels)
            if len(found) > MOST_LABELS:
                raise InputError(
                    f"{where}: {len(found)} different labels; expected at most {MOST_LABELS}: is "
                    "one of the files an image instead of a mask?"
                )
            groups = {str(label): [label] for label in found}
        return {
            name: [np.logical_or.reduce([array == value for value in values]) for array in labels]
            for name, values in groups.items()
        }

    def outside(self, labels: Sequence[np.ndarray]) -> list[int]:
        """Labels that are in no region and count as background."""
        if self.convention is not None or self.labels is None:
            return []
        known = {value for values in self.labels.values() for value in values}
        return [label for label in _labels_in(labels) if label not in known]


class CaseMasks(NamedTuple):
    """What is compared in one case.

    Attributes:
        masks: prediction and truth by region, bool, shape (X, Y, Z): the box around all of them.
        spacing: size of a voxel in mm along each axis.
        voxels: number of voxels of the whole image.
        notes: what was done to the files.
    """

    masks: dict[str, list[np.ndarray]]
    spacing: list[float]
    voxels: int
    notes: list[str]


def read_masks(pair: Pair, regions: Regions) -> CaseMasks:
    """Read the masks of a case, along the same axes.

    Raises:
        InputError: a file is damaged or no mask, a label is unknown, or the grids differ.
    """
    truth = _read(pair.truth, f"case {pair.case}: the truth {pair.truth}")
    prediction = _read(pair.prediction, f"case {pair.case}: the prediction {pair.prediction}")
    check_same_grid(truth.grid._replace(where=f"the truth {pair.truth}"), prediction.grid)
    labels = [regions.read(image) for image in (prediction, truth)]
    labels = boxed(labels)
    notes = _notes(pair.case, prediction, truth, regions.outside(labels))
    masks = regions.masks(labels, f"case {pair.case}")
    spacing = voxel_sizes(truth.affine).tolist()
    return CaseMasks(masks, spacing, int(np.prod(truth.grid.shape)), notes)


def boxed(labels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The box around everything that is not background in any of the arrays, of each."""
    box = bounding_box(np.logical_or.reduce([array != 0 for array in labels]))
    return [array[box] for array in labels]


def _labels_in(labels: Sequence[np.ndarray]) -> list[int]:
    """All labels but 0, from the smallest on."""
    found = np.unique(np.concatenate([np.unique(array) for array in labels]))
    return [int(label) for label in found if label]


def _read(path: Path, where: str) -> RasImage:
    return read_nifti(path, where).volume(None, None)


def _notes(case: str, prediction: RasImage, truth: RasImage, outside: list[int]) -> list[str]:
    notes = []
    axes = ["".join(nib.aff2axcodes(image.native.affine)) for image in (prediction, truth)]
    if axes[0] != axes[1]:
        notes.append(
            f"case {case}: the prediction's axes are {axes[0]}, the truth's {axes[1]}; both were "
            "turned to RAS, on the same grid"
        )
    if outside:
        found = ", ".join(map(str, outside[:5]))
        notes.append(
            f"case {case}: {plural(len(outside), 'label')} in no region count as background "
            f"({found})"
        )
    return notes
