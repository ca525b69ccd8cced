"""Files beside the images of a case that are none of its sequences, and the name they suggest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ....data.brats.case_files import Listing, guessed_sequence
from ....data.brats.cases import SEQUENCES, Case
from ....data.brats.checks import plural
from ....data.brats.layouts import beginnings
from ....data.errors import some
from ..quality.findings import Finding, finding
from .table import USABLE

# Names of what is surely none of the four sequences.
_OTHERS = re.compile("mask|seg|label|brain|star|map|adc|dwi|dti|swi|asl|pwi|perf|dsc|bold")


def look_beside(
    listing: Listing, cases: Sequence[Case], problems: Collection[str]
) -> tuple[list[Case], dict[str, list[Finding]]]:
    """Find what lies beside the images of cases that lack sequences.

    Args:
        listing: of the folder of all.
        cases: found in it.
        problems: names of cases that cannot be begun; their files are their own.

    Returns:
        The cases, named by their folder where what was left out of it has another beginning (of
        ``S2/my_t2.nii.gz`` and ``S2/flair_axial.nii.gz``, ``my`` is not the patient), and the
        findings by case.
    """
    left = _left_out(listing, cases, problems)
    better = _better_names(listing, cases, left)
    cases = [replace(case, name=better.get(case.name, case.name)) for case in cases]
    return cases, {better.get(name, name): [_not_used(files)] for name, files in left.items()}


def _left_out(
    listing: Listing, cases: Sequence[Case], problems: Collection[str]
) -> dict[str, list[Path]]:
    """Files in the folder of one case alone that might be a sequence that it lacks, by case."""
    used = {source.path for case in cases for source in case.images.values()}
    owners = _owners(cases, lambda path: path.parent)
    lacking = {case.name for case in cases if len(case.images) < len(SEQUENCES)}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in listing.nifti:
        names = owners.get(path.parent, set())
        known = path in used or any(begin in problems for begin in beginnings(path.name))
        if len(names) == 1 and not known and not _OTHERS.search(path.name.lower()):
            found[next(iter(names))].append(path)
    return {name: files for name, files in found.items() if name in lacking}


def _better_names(
    listing: Listing, cases: Sequence[Case], left: Mapping[str, Sequence[Path]]
) -> dict[str, str]:
    def top(path: Path) -> Path:
        first, *below = path.relative_to(listing.root).parts
        return listing.root / first if below else listing.root

    names = {}
    for folder, (name, *others) in _owners(cases, top).items():
        better, files = folder.resolve().name, [path.name for path in left.get(name, ())]
        alike = name.startswith(better) or any(text.startswith(name) for text in (better, *files))
        taken = better in (case.name for case in cases) or not USABLE.fullmatch(better)
        if not (others or alike or taken) and any(map(guessed_sequence, files)):
            names[name] = better
    return names


def _owners(cases: Iterable[Case], folder: Callable[[Path], Path]) -> dict[Path, set[str]]:
    """Names of the cases whose images lie in a folder."""
    owners: dict[Path, set[str]] = defaultdict(set)
    for case in cases:
        for source in case.images.values():
            owners[folder(source.path)].add(case.name)
    return owners


def _not_used(files: Sequence[Path]) -> Finding:
    named = some([_with_guess(path.name) for path in files], 5)
    count = plural(len(files), "NIfTI file")
    return finding("not_used", f"{count} beside its images not recognized: {named}")


def _with_guess(name: str) -> str:
    guess = guessed_sequence(name)
    return name if guess is None else f"{name} ({guess}?)"
