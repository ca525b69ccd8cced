"""The cases of the BraTS bundle: those of a folder, or the embedded synthetic ones; their split."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..cache import one_at_a_time
from ..errors import InputError, some
from ..identity import digest
from ..patients import patient_of
from ..phantom import generate
from ..phantom.cases import GENERATOR_VERSION
from ..phantom.generate import is_synthetic
from ..split_file import FILE_NAME, keep_given
from ..splits import read_split, split_cases
from .cases import SEQUENCES, Case, find_cases
from .conventions import CONVENTIONS, UnknownConvention, cavity_conventions
from .store import SliceStore

_LOG = logging.getLogger(__name__)

SYNTHETIC = "synthetic gliomas (no patients)"


def open_cases(
    dataset_dir: str | Path | None,
    *,
    sequences: Sequence[str] = SEQUENCES,
    layout: str = "auto",
    label_convention: str | None = None,
    labels: str = "required",
    allow_missing: bool = False,
    cavity: bool = False,
    cache_dir: str | Path | None = None,
    embedded_cases: int = 48,
) -> list[Case]:
    """Find the cases of a folder, or generate the embedded ones when there is no folder.

    Args:
        dataset_dir: a folder in a published BraTS layout; None for the embedded cases.
        sequences: see :func:`find_cases`, as are the next four.
        layout: likewise.
        label_convention: likewise.
        labels: likewise.
        allow_missing: likewise.
        cavity: make the resection cavity in the labels a class; else it becomes background, which
            is said where their convention has one.
        cache_dir: where the embedded cases are kept, :func:`~.cache.default_cache` when not given.
        embedded_cases: how many to generate.

    Raises:
        InputError: the folder or a case cannot be used, or the labels have no cavity.
    """
    if dataset_dir is None:
        with one_at_a_time(cache_dir) as cache:
            folder = cache / f"phantom-{GENERATOR_VERSION}"
            dataset_dir = generate(folder, cases=embedded_cases, progress=True)
        layout, label_convention = "brats2018", None
    cases = find_cases(
        dataset_dir,
        sequences=sequences,
        layout=layout,
        label_convention=label_convention,
        labels=labels,
        allow_missing=allow_missing,
    )
    with_cavity = [case for case in cases if _has_cavity(case)]
    if not cavity:
        if with_cavity:
            _LOG.warning(
                "the resection cavity in labels of %s becomes background; a network trained with "
                "--outputs cavity has a class for it",
                with_cavity[0].convention,
            )
        return cases
    if len(with_cavity) < len(cases):
        other = next(case for case in cases if not _has_cavity(case))
        raise InputError(
            f"outputs is 'cavity', but labels of {other.convention} such as that of {other.name} "
            f"tell no resection cavity: take cases with labels of {cavity_conventions()}, or "
            "a network with --outputs classes"
        )
    return [replace(case, cavity=True) for case in cases]


def _has_cavity(case: Case) -> bool:
    return case.convention is not None and CONVENTIONS[case.convention].has_cavity


def open_store(
    cases: Sequence[Case],
    *,
    sequences: Sequence[str] = SEQUENCES,
    cache_dir: str | Path | None = None,
) -> SliceStore:
    """Convert cases to slices, once, into a folder of the cache that belongs to just these files.

    Args:
        cases: from :func:`open_cases`, each with a label.
        sequences: what to store of each case.
        cache_dir: :func:`~.cache.default_cache` when not given. About 35 MB for a case of BraTS.

    Raises:
        InputError: a case cannot be used; all of them are named.
    """
    where = sorted({str(_top(case).resolve()) for case in cases})
    conventions = {f"{case.convention}{' with cavity' * case.cavity}" for case in cases}
    key = "\n".join([*where, *sequences, *sorted(conventions)])
    name = f"{Path(where[0]).name}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    with one_at_a_time(cache_dir) as cache:
        return SliceStore.build(cases, cache / "slices" / name, sequences=sequences)


def cases_to_segment(
    dataset_dir: str | Path | None,
    output_dir: str | Path,
    *,
    sequences: Sequence[str] = SEQUENCES,
    layout: str = "auto",
    label_convention: str | None = None,
    allow_missing: bool = False,
    cavity: bool = False,
    cache_dir: str | Path | None = None,
) -> list[Case]:
    """Find the cases to segment: all of a folder, or the embedded ones kept for testing.

    Labels that come with the cases are read, to be drawn and compared, only where it is known what
    their values mean.

    Args:
        dataset_dir: see :func:`open_cases`, as are the others.
        output_dir: its ``split.json`` says which embedded cases are for testing.
        sequences: the network's.
        layout: likewise.
        label_convention: likewise.
        allow_missing: likewise.
        cavity: whether the network tells the resection cavity; it is compared where labels do, too.
        cache_dir: likewise.

    Raises:
        InputError: the folder or a case cannot be used.
    """
    if dataset_dir is None:
        cases = open_cases(None, sequences=sequences, cache_dir=cache_dir)
        split = open_split(cases, output_dir)
        return [case for case in cases if case.name in split["test"]]

    find = partial(
        find_cases,
        dataset_dir,
        sequences=sequences,
        layout=layout,
        label_convention=label_convention,
        allow_missing=allow_missing,
    )
    try:
        cases = find(labels="optional")
        return [replace(case, cavity=cavity and _has_cavity(case)) for case in cases]
    except UnknownConvention as error:
        if label_convention is not None:
            raise
        _LOG.warning("the labels that come with the cases are not compared: %s", error)
        return find(labels="ignored")


def open_split(
    cases: Sequence[Case],
    output_dir: str | Path,
    *,
    split_file: str | Path | None = None,
    fold: int | None = None,
    test_fold: int | None = None,
    fractions: Sequence[float] | None = None,
    seed: int | None = None,
    whole: bool = False,
    trained_on: Collection[str] = (),
) -> Mapping[str, list[str]]:
    """Say which cases train, validate and test.

    Args:
        cases: from :func:`open_cases`.
        output_dir: holds ``split.json``, the split of the run; written when it is not there yet.
        split_file: a file of the user's instead, ours or a published file of folds.
        fold: of a file of folds, the one to validate on.
        test_fold: of a file of folds, the one to test on.
        fractions: shares of the patients for training, validation and test; None asks for none
            in particular, as does a seed of None.
        seed: seed of the draw.
        whole: split nothing, and write nothing: all cases are one part, "all".
        trained_on: digests of the patients that a network to go on with was trained on: they are
            never validated or tested on.

    Raises:
        InputError: the split does not fit the cases, is not that of the run, or holds patients out
            that were trained on.
    """
    if split_file is None and (fold is not None or test_fold is not None):
        raise InputError(
            "fold and test_fold say which folds of a file to take, but there is no file: pass it "
            "with --split_file"
        )
    names = [case.name for case in cases]
    if whole:
        return {"all": sorted(names)}
    seen = {patient_of(name) for name in names if digest(patient_of(name)) in set(trained_on)}
    if split_file is not None:
        split = read_split(split_file, names, fold=fold, test_fold=test_fold)
        keep_given(split, split_file, output_dir)
    else:
        file = Path(output_dir) / FILE_NAME
        split = split_cases(names, file, fractions=fractions, seed=seed, seen=seen)
    held_out = [name for part in ("val", "test") for name in split[part]]
    if known := [name for name in held_out if patient_of(name) in seen]:
        raise InputError(
            f"the network was trained on {len(known)} of the {len(held_out)} cases for validation "
            f"and test ({some(known, 3)}): figures on them mean nothing; move them into train, or "
            "pass another --output_dir for a new split"
        )
    return split


def describe_split(split: Mapping[str, Sequence[str]]) -> str:
    """How many cases train, validate and test, in words."""
    return ", ".join(f"{len(names)} {part}" for part, names in split.items())


def _top(case: Case) -> Path:
    """The folder that holds the folder of a case, or the case's files in a flat layout."""
    first = next(iter(case.images.values())).path.parent
    return first.parent if first.name == case.name else first


def data_name(dataset_dir: str | Path | None) -> str:
    """What the cases are, for logs and reports: no folder above theirs, which may name somebody."""
    if dataset_dir is None:
        return f"embedded {SYNTHETIC}"
    made = is_synthetic(Path(dataset_dir))
    what = f"{SYNTHETIC} of the folder" if made else "the folder"
    return f"{what} {Path(dataset_dir).resolve().name}"
