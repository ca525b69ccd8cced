"""Which cases are for training, which for choosing a model, and which for the final figures?

A split is by patient: the examinations of one patient always lie in one part.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, some
from .files import write_json

PARTS = ("train", "val", "test")
FILE_NAME = "split.json"

# BraTS-GLI-00005-001 is the second examination of patient 00005; Brats18_2013_0_1 the first of 0.
_TIME_POINT = re.compile(r"^(?P<patient>.+-\d{4,}|[Bb]ra[Tt][Ss]1\d_.+_[^_]+)[-_]\d{1,3}$")

Split = dict[str, list[str]]


def patient_of(case: str) -> str:
    """Name the patient of a case: its name without the time point, when that is part of it.

    >>> patient_of("BraTS-GLI-00005-001"), patient_of("BraTS2021_00005")
    ('BraTS-GLI-00005', 'BraTS2021_00005')
    """
    match = _TIME_POINT.match(case)
    return match["patient"] if match else case


def split_cases(
    names: Sequence[str],
    file: str | Path | None = None,
    *,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> Split:
    """Split cases by patient, or read the split of an earlier run.

    Args:
        names: names of all cases, in any order.
        file: where the split is kept: a .json file, or a folder for `split.json`. If it is there
            it is read and must fit; else it is written. None keeps nothing.
        fractions: shares of the patients for training, validation and test; they add up to 1.
        seed: seed of the draw; the same names, fractions and seed give the same split.

    Returns:
        {"train": [...], "val": [...], "test": [...]}, each sorted and none empty.

    Raises:
        InputError: there are fewer than 3 patients, the fractions are wrong, or the file was made
            for other cases or settings.
    """
    shares = _checked_fractions(fractions)
    if file is None:
        return _draw(names, shares, seed)
    file = Path(file)
    file = file if file.suffix == ".json" else file / FILE_NAME
    if file.exists():
        _refuse_other_settings(split_content(file), file, shares, seed)
        return read_split(file, names)
    split = _draw(names, shares, seed)
    counts = {part: len(split[part]) for part in PARTS}
    write_json(file, {"seed": seed, "fractions": shares, "counts": counts, **split})
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
    check_split(split, names, file, shared_test="training" in content and test_fold is None)
    return split


def _draw(names: Sequence[str], fractions: list[float], seed: int) -> Split:
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(patient_of(name), []).append(name)
    patients = sorted(groups)
    if len(patients) < 3:
        raise InputError(
            f"{len(patients)} patients ({', '.join(patients)}) cannot be split into training, "
            "validation and test; expected at least 3"
        )
    ends = np.cumsum(_shares_of(len(patients), fractions))
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = np.split(order, ends[:-1])
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


def split_content(file: Path) -> dict[str, Any]:
    """Read the object in a file of a split.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise InputError(f"the split {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"the split {file} is not JSON ({error}); delete or replace it") from error
    if not isinstance(content, dict):
        raise InputError(f"the split {file} holds a {type(content).__name__}; expected an object")
    return content


def _refuse_other_settings(
    content: Mapping[str, Any], file: Path, fractions: list[float], seed: int
) -> None:
    for key, wanted in (("seed", seed), ("fractions", fractions)):
        if content.get(key, wanted) != wanted:
            raise InputError(
                f"{file} was drawn with {key} {content[key]}, now {key} is {wanted}; delete the "
                "file to draw a new split, or use the old setting"
            )


def split_parts(content: Mapping[str, Any], file: Path) -> Split:
    """Take the three sorted lists out of the content of `file`.

    Raises:
        InputError: one is missing, or is no list of names.
    """
    for part in PARTS:
        cases = content.get(part)
        if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
            raise InputError(
                f'{file} has no list of case names under "{part}"; expected the lists '
                f'{", ".join(PARTS)}, or folds under "training"'
            )
    return {part: sorted(content[part]) for part in PARTS}


def _from_folds(
    entries: Any, names: Sequence[str], file: Path, fold: int | None, test_fold: int | None
) -> Split:
    known = set(names)
    try:
        folds = [(int(entry["fold"]), _case_of(entry["image"], known)) for entry in entries]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise InputError(
            f'{file}: an entry under "training" has no usable "fold" and "image" ({error!r})'
        ) from error
    found = sorted({number for number, _ in folds})
    if fold not in found or test_fold not in (None, *found) or fold == test_fold:
        raise InputError(
            f"{file} holds the folds {found}; fold {fold} was asked for to validate on and "
            f"{test_fold} to test on; choose two different ones of these"
        )
    held_out = (fold, test_fold)
    split = {
        "train": sorted(case for number, case in folds if number not in held_out),
        "val": sorted(case for number, case in folds if number == fold),
    }
    tested = fold if test_fold is None else test_fold
    return split | {"test": sorted(case for number, case in folds if number == tested)}


def _case_of(image: str | Sequence[str], known: set[str]) -> str:
    """Name the case of an entry: the file or folder of its first image that is a known case."""
    path = Path(image if isinstance(image, str) else image[0])
    file = path.name.removesuffix(".gz").removesuffix(".nii")
    candidates = [file, re.sub(r"[-_][^-_]+$", "", file), path.parent.name]
    return next((name for name in candidates if name in known), candidates[1 if "_" in file else 0])


def check_split(
    split: Split,
    names: Sequence[str],
    file: Path,
    *,
    owner_of: Callable[[str], str] = patient_of,
    words: tuple[str, str] = ("case", "patient"),
    shared_test: bool = False,
) -> None:
    """Refuse a split that does not fit.

    Args:
        split: the three parts.
        names: what there is to split.
        file: where the split was read.
        owner_of: who a name belongs to; names of one owner must lie in one part.
        words: what a name and an owner are called.
        shared_test: the validation cases are meant to be the test cases too.

    Raises:
        InputError: a part is empty, a name is unknown, missing or twice, or an owner is in two
            parts.
    """
    word, owner = words
    for part in PARTS:
        if not split[part]:
            raise InputError(f"{file}: the part {part} is empty; expected at least one {word}")
    listed = [name for part in PARTS for name in split[part]]
    for cases, verb in (
        (sorted(set(listed) - set(names)), f"holds {word}s that were not found"),
        (sorted(set(names) - set(listed)), f"lacks {word}s that were found"),
    ):
        if cases:
            raise InputError(
                f"{file} {verb}: {some(cases)}; delete the file to draw a new split, or give the "
                "data it was made for"
            )
    double = [name for part in PARTS for name, count in Counter(split[part]).items() if count > 1]
    if double:
        raise InputError(
            f"{file} lists these {word}s more than once: {some(double)}; list each once"
        )
    parts = PARTS[:2] if shared_test else PARTS
    owners: dict[str, set[str]] = {}
    for part in parts:
        for name in split[part]:
            owners.setdefault(owner_of(name), set()).add(part)
    twice = sorted(name for name, found in owners.items() if len(found) > 1)
    if twice:
        raise InputError(
            f"{file} has the same {owner}s in two parts: {some(twice)}; results on {owner}s that "
            "were trained on mean nothing, so move each into one part"
        )
