"""Scores of many cases, each region in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ....data.brats.checks import plural
from ....data.errors import InputError
from .masks import Regions, boxed, read_masks
from .pairs import Pair
from .region import RegionScores, ScoringRules, score_region


class CaseScores(NamedTuple):
    """Figures of one case by region."""

    case: str
    regions: dict[str, RegionScores]


class Scored(NamedTuple):
    """Scores of many cases.

    Attributes:
        cases: those that could be scored, each with the same regions.
        failures: a sentence for each other case, by its name.
        notes: what was done to files.
    """

    cases: list[CaseScores]
    failures: dict[str, str]
    notes: list[str]


def score_labels(
    prediction: np.ndarray,
    truth: np.ndarray,
    regions: Regions,
    *,
    spacing: Sequence[float] = (1, 1, 1),
    rules: ScoringRules | None = None,
) -> dict[str, RegionScores]:
    """Score arrays: each region of a case.

    Args:
        prediction: labels, or with a convention classes 0 to 3, shape (X, Y, Z).
        truth: likewise, of the same shape.
        regions: of the labels.
        spacing: size of a voxel in mm along each axis.
        rules: conventions; those of BraTS 2023 for gliomas when not given.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    masks = regions.masks(boxed([prediction, truth]), "the case")
    return {
        name: score_region(*both, spacing=spacing, rules=rules, voxels=truth.size)
        for name, both in masks.items()
    }


def score_pairs(pairs: Iterable[Pair], regions: Regions, rules: ScoringRules) -> Scored:
    """Score pairs of mask files; one that cannot be scored stops no other.

    Args:
        pairs: from :func:`.pairs.pair_masks`.
        regions: of the masks.
        rules: conventions.

    Raises:
        InputError: no region is named, and no mask has a label.
    """
    cases: list[CaseScores] = []
    failures: dict[str, str] = {}
    notes: list[str] = []
    for pair in pairs:
        try:
            masks = read_masks(pair, regions)
            scores = {
                name: score_region(*both, spacing=masks.spacing, rules=rules, voxels=masks.voxels)
                for name, both in masks.masks.items()
            }
        except InputError as error:
            failures[pair.case] = str(error)
        except Exception as error:  # one odd file must not hide the others
            failures[pair.case] = f"case {pair.case}: {type(error).__name__}: {error}"
        else:
            cases.append(CaseScores(pair.case, scores))
            notes += masks.notes
    return Scored(_with_all_regions(cases, regions, rules), failures, notes)


def _with_all_regions(
    cases: list[CaseScores], regions: Regions, rules: ScoringRules
) -> list[CaseScores]:
    """Score labels that only other cases have as what they are: empty in both masks."""
    names = regions.names
    if names is None:
        names = sorted({name for scores in cases for name in scores.regions}, key=int)
        if cases and not names:
            raise InputError(
                f"none of the {plural(len(cases), 'case')} has a label in either mask, so there is "
                "no region to score: name the regions (regions, or label_convention)"
            )
    nothing = np.zeros((1, 1, 1), bool)
    empty = score_region(nothing, nothing, rules=rules)
    return [
        CaseScores(scores.case, {name: scores.regions.get(name, empty) for name in names})
        for scores in cases
    ]
