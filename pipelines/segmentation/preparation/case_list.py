"""The cases of a folder of unprepared images: published names, or a folder for each patient."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from ....data.brats.case_files import list_folder
from ....data.brats.cases import SEQUENCES, Case, check_layout, find_cases
from ....data.brats.layouts import SEQUENCE_NAMES, Source
from ....data.errors import InputError
from ....data.patients import iso_day

FOLDERS = "folders"  # what this way of naming is called among the layouts

_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_BEGUN = re.compile(r"(?P<begin>.+)[_-](?P<sequence>[A-Za-z0-9]+)")
_NUMBER = re.compile(r"\d")
_USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def find_cases_to_prepare(
    folder: Path, *, layout: str = "auto", say: Callable[[str], object] = print
) -> tuple[list[Case], dict[str, str]]:
    """List the cases of a folder, and what is wrong with the others.

    Two ways of naming are read: the published layouts of :func:`.find_cases`, such as
    ``P01_t1ce.nii.gz``, and a folder for each patient with ``flair.nii.gz``, ``t1.nii.gz``,
    ``t1ce.nii.gz`` and ``t2.nii.gz`` in it, or the same with anything before it that is alike in
    several folders, such as ``scan_flair.nii.gz``. A sequence may be absent. A folder for each date
    of a patient, ``P01/20240301/flair.nii.gz``, is the case ``P01_2024-03-01``; where several
    folders have one name, as in ``P01/nifti/flair.nii.gz``, that of the patient's stands for it.

    Args:
        folder: of the cases, or of one.
        layout: ``auto``, ``folders`` for the second way, or a published one.
        say: gets a sentence for each kind of file that is not used.

    Returns:
        The cases by name, and for each that cannot be begun the reason.

    Raises:
        InputError: nothing is recognized.
    """
    check_layout(layout, FOLDERS)
    cases, problems = _one_folder_each(folder) if layout in ("auto", FOLDERS) else ([], {})
    if cases or problems:
        return cases, problems
    if layout == FOLDERS:
        raise InputError(
            f"no case was recognized in {folder}; expected a folder for each patient, such as "
            "P01/flair.nii.gz; --layout auto reads other names, too"
        )
    try:
        return _published(folder, layout, say, problems), problems
    except InputError as fault:
        folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        for one in folders:  # so that one case with a fault does not hide the others
            try:
                cases += _published(one, layout, say, problems)
            except InputError as error:
                problems[one.name] = str(error)
        names = Counter(case.name for case in cases)
        cases = [case for case in cases if names[case.name] == 1]
        # Of one name in several folders:
        problems |= {name: str(fault) for name, count in names.items() if count > 1}
        if not cases:
            raise
        return cases, problems


def is_one_folder_each(root: Path) -> bool:
    """Whether a folder is read the second way of :func:`find_cases_to_prepare`."""
    return any(_one_folder_each(root))


def _published(
    folder: Path, layout: str, say: Callable[[str], object], problems: dict[str, str]
) -> list[Case]:
    return find_cases(
        folder, layout=layout, labels="ignored", allow_missing=True, say=say, broken=problems
    )


def _one_folder_each(root: Path) -> tuple[list[Case], dict[str, str]]:
    found: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    listed = list_folder(root).nifti
    for path in listed:
        name = re.sub(r"[^a-z0-9]", "", _ENDING.sub("", path.name).lower())
        if name in SEQUENCE_NAMES:
            found[path.parent][SEQUENCE_NAMES[name]].append(path)
    for folder, sequence, path in _named_alike(listed):
        found[folder][sequence].append(path)
    cases, problems = [], {}
    names = _names(root, found)
    for folder, files in sorted(found.items()):
        several = {key: paths for key, paths in files.items() if len(paths) > 1}
        name = names[folder]
        if not _USABLE.fullmatch(name):
            problems[name] = (
                f"the folder {folder} gives no usable ID; expected letters A-Z, digits, dots, "
                "dashes or underscores: rename it"
            )
        elif several:
            key, paths = next(iter(several.items()))
            problems[name] = (
                f"case {name}: {len(paths)} files for {key}: {' and '.join(map(str, paths))}; "
                "expected one: remove or rename the others"
            )
        elif name in (case.name for case in cases):
            problems[name] = f"{folder}: another folder is called {name}, too: rename one of them"
            cases = [case for case in cases if case.name != name]
        else:
            images = {key: Source(files[key][0]) for key in SEQUENCES if key in files}
            cases.append(Case(name, images, None, None, "brats2018"))
    return cases, problems


def _names(root: Path, folders: Collection[Path]) -> dict[Path, str]:
    """The case of each folder: its name, or where several have it, that of one further up.

    What tells the folders of one owner apart, and what has a number in it, such as a date, is added
    to the owner's name.
    """
    levels = {path for one in folders for path in (one, *one.parents) if root in path.parents}
    times = Counter(path.name for path in levels)
    owned: dict[Path, list[tuple[str, ...]]] = defaultdict(list)
    for folder in folders:
        owner = folder
        while owner.parent in levels and (times[owner.name] > 1 or iso_day(owner.name)):
            owner = owner.parent
        owned[owner].append(folder.relative_to(owner).parts)
    names = {}
    for owner, several in owned.items():
        alike = [len(set(level)) == 1 for level in zip_longest(*several)]
        for parts in several:
            told = [
                iso_day(part) or part
                for part, same in zip(parts, alike, strict=False)
                if not same or _NUMBER.search(part)
            ]
            names[owner.joinpath(*parts)] = "_".join([owner.resolve().name, *told])
    return names


def _named_alike(files: Iterable[Path]) -> Iterator[tuple[Path, str, Path]]:
    """Files whose beginning names no patient: with the same sequence it is in several folders."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in files:
        if match := _BEGUN.fullmatch(_ENDING.sub("", path.name)):
            sequence = SEQUENCE_NAMES.get(match["sequence"].lower())
            if sequence and match["begin"] != path.parent.name:  # else it names the patient
                groups[match["begin"]][sequence].append(path)
    for sequences in groups.values():
        if any(len({path.parent for path in paths}) > 1 for paths in sequences.values()):
            for sequence, paths in sequences.items():
                yield from ((path.parent, sequence, path) for path in paths)
