"""Training, validation and test cases: the split of BraTS by patient.

A split is by patient: the examinations of one patient always lie in one part.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .patients import patient_of
from .split_file import (
    FILE_NAME,
    PARTS,
    SHARED_TEST,
    Split,
    check_split,
    refuse_other_making,
    split_content,
    split_parts,
    write_split,
)

FRACTIONS = (0.7, 0.1, 0.2)


def split_cases(
    names: Sequence[str],
    file: str | Path | None = None,
    *,
    fractions: Sequence[float] | None = None,
    seed: int | None = None,
    seen: Collection[str] = (),
) -> Split:
    """Split cases by patient, or read the split of an earlier run.

    Args:
        names: names of all cases, in any order.
        file: where the split is kept: a .json file, or a folder for `split.json`. If it is there
            it is read and must fit; else it is written. None keeps nothing.
        fractions: shares of the patients for training, validation and test; they add up to 1. None
            takes those of the file, or 0.7, 0.1 and 0.2.
        seed: seed of the draw; the same names, fractions and seed give the same split. None takes
            that of the file, or 0.
        seen: patients that a network was trained on before; they are drawn for training only.

    Returns:
        {"train": [...], "val": [...], "test": [...]}, each sorted and none empty.

    Raises:
        InputError: there are fewer than 3 patients, or too few that were not seen; the fractions
            are wrong; or the file was made for other cases or settings.
    """
    shares = None if fractions is None else _checked_fractions(fractions)
    file = None if file is None else Path(file)
    if file is not None:
        file = file if file.suffix == ".json" else file / FILE_NAME
        if file.exists():
            settings = {"seed": seed, "fractions": shares}
            refuse_other_making(split_content(file), file, settings)
            return read_split(file, names)
    shares, seed = shares or list(FRACTIONS), seed or 0
    split = _draw(names, shares, seed, seen)
    if file is not None:
        write_split(file, split, {"seed": seed, "fractions": shares})
    return split


def read_split(
    file: str | Path, names: Sequence[str], *, fold: int | None = None, test_fold: int | None = None
) -> Split:
    """Read a split: a file of ours, or a published file of folds for cross-validation.

    A file of folds has entries {"fold": 0, "image": [paths], "label": path} under "training", as
    the one of Swin UNETR for BraTS 2021. It has no test part: without `test_fold` the validation
    cases are returned as test cases too, and figures on them are those of a validation.

    Args:
        file: path of the JSON file.
        names: names of the cases at hand; the file must hold these and no others.
        fold: for a file of folds, the fold to validate on.
        test_fold: for a file of folds, another fold to test on.

    Raises:
        InputError: the file cannot be used, does not hold exactly these cases, has an empty part,
            or has one patient in two parts.
    """
    file = Path(file)
    content = split_content(file)
    if "training" in content:
        split = _from_folds(content["training"], names, file, fold, test_fold)
    elif fold is not None or test_fold is not None:
        raise InputError(f"{file} holds no folds, so fold {fold} cannot be taken from it")
    else:
        split = split_parts(content, file)
    shared = "training" in content and test_fold is None or content.get(SHARED_TEST) is True
    words = ("case", "patient")
    check_split(split, names, file, owner_of=patient_of, words=words, shared_test=shared)
    return split


def _draw(names: Sequence[str], fractions: list[float], seed: int, seen: Collection[str]) -> Split:
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(patient_of(name), []).append(name)
    patients = sorted(groups)
    if len(patients) < 3:
        raise InputError(
            f"{len(patients)} patients ({', '.join(patients)}) cannot be split into training, "
            "validation and test; expected at least 3"
        )
    counts = _shares_of(len(patients), fractions)
    order = np.random.default_rng(seed).permutation(len(patients)).tolist()
    order.sort(key=lambda number: patients[number] not in seen)  # these come first: to train on
    unseen = sum(patient not in seen for patient in patients)
    if unseen < sum(counts[1:]):
        raise InputError(
            f"the network was trained on {len(patients) - unseen} of these {len(patients)} "
            f"patients; {unseen} are left, and validation and test need {sum(counts[1:])}: add "
            "patients that it has not seen"
        )
    chosen = np.split(np.array(order), np.cumsum(counts)[:-1])
    return {
        part: sorted(name for number in numbers for name in groups[patients[number]])
        for part, numbers in zip(PARTS, chosen, strict=True)
    }


def _shares_of(patients: int, fractions: list[float]) -> list[int]:
    """Round `patients * fractions` to whole numbers of at least 1 that add up to `patients`."""
    exact = [patients * fraction for fraction in fractions]
    counts = [max(1, int(share)) for share in exact]
    while sum(counts) != patients:
        step = 1 if sum(counts) < patients else -1
        # The part that gains (or loses) a patient is the one that is furthest from its share.
        lack = [step * (share - count) for share, count in zip(exact, counts, strict=True)]
        movable = [i for i, count in enumerate(counts) if step > 0 or count > 1]
        counts[max(movable, key=lack.__getitem__)] += step
    return counts


def _checked_fractions(fractions: Sequence[float]) -> list[float]:
    shares = [float(fraction) for fraction in fractions]
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"fractions are {shares}; expected three positive numbers that add up to 1, for "
            "training, validation and test"
        )
    return shares


def _from_folds(
    entries: Any, names: Sequence[str], file: Path, fold: int | None, test_fold: int | None
) -> Split:
    cases = set(names)
    try:
        folds = [(int(entry["fold"]), _case_of(entry["image"], cases)) for entry in entries]
    except (TypeError, KeyError, ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f'{file}: an entry under "training" has no usable "fold" and "image" ({error!r})'
        ) from error
    numbers = sorted({number for number, _ in folds})
    if fold not in numbers or test_fold not in (None, *numbers) or fold == test_fold:
        raise InputError(
            f"{file} holds the folds {numbers}; fold {fold} was asked for to validate on and "
            f"{test_fold} to test on; choose two different ones of these"
        )
    held_out = (fold, test_fold)
    split = {
        "train": sorted(case for number, case in folds if number not in held_out),
        "val": sorted(case for number, case in folds if number == fold),
    }
    tested = fold if test_fold is None else test_fold
    return split | {"test": sorted(case for number, case in folds if number == tested)}


def _case_of(image: str | Sequence[str], cases: set[str]) -> str:
    """Name the case of an entry: the file or folder of its first image that is one of the cases."""
    path = Path(image if isinstance(image, str) else image[0])
    file = path.name.removesuffix(".gz").removesuffix(".nii")
    candidates = [file, re.sub(r"[-_][^-_]+$", "", file), path.parent.name]
    return next((name for name in candidates if name in cases), candidates[1 if "_" in file else 0])
