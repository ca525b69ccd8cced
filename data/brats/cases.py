"""The cases of a folder, and the file that holds each sequence of a case.

Published layouts are recognized by their file names alone (`layouts`); no file is opened here
except a `dataset.json` (`task_folders`). What a folder holds and is not used is said
(`case_files`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .case_files import (
    Listing,
    case_problems,
    is_dicom,
    list_folder,
    other_names,
    strays_in,
    too_deep,
    unused,
)
from .checks import plural, problem_report
from .conventions import choose_convention
from .layouts import (
    LAYOUTS,
    SEQUENCES,
    Found,
    Source,
    beginnings,
    common_conventions,
    conventions_of,
    group_files,
)
from .task_folders import (
    TRAINING,
    described_convention,
    group_msd,
    group_nnunet,
    has_channels,
    in_task_folder,
)

LABEL_CHOICES = ("required", "optional", "ignored")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One examination of one patient.

    Attributes:
        name: case ID, safe to use as a file name.
        images: source of each sequence that is there, keyed by sequence name.
        label: source of the label, if there is one and it is wanted.
        convention: name of the label convention; None if the layout proves none and none was given.
        layout: name of the layout it was found in.
        cavity: whether a resection cavity in the label is a class; else it becomes background.
    """

    name: str
    images: dict[str, Source]
    label: Source | None
    convention: str | None
    layout: str
    cavity: bool = False

    @property
    def mask_convention(self) -> str:
        """The label convention of a mask of this case, where the user chooses none."""
        possible = conventions_of(self.layout, self.name) or LAYOUTS[self.layout].conventions
        return self.convention or possible[0]


def find_cases(
    folder: str | Path,
    *,
    sequences: Sequence[str] = SEQUENCES,
    layout: str = "auto",
    label_convention: str | None = None,
    labels: str = "required",
    allow_missing: bool = False,
    say: Callable[[str], object] = _LOG.warning,
    broken: dict[str, str] | None = None,
) -> list[Case]:
    """List the cases of a folder in a published layout.

    Args:
        folder: folder of cases (sub-folders such as HGG and LGG are fine), or of one case.
        sequences: the sequences that are needed, out of `SEQUENCES`.
        layout: `auto`, or one of `LAYOUTS`.
        label_convention: needed where the names do not tell what the labels mean; one that they
            rule out is refused.
        labels: `required` (each case must have one), `optional` or `ignored`.
        allow_missing: accept cases that lack sequences, as long as one is there.
        say: gets a sentence for each kind of file or folder that is not used, or that is used
            under another name than the published one.
        broken: gets the reason for each case whose files are broken, which is then left out;
            without it they are an error.

    Returns:
        The cases, sorted by name, at least one unless `broken` has some.

    Raises:
        InputError: a setting is unknown, nothing is recognized, or cases are broken (all of them
            are reported, not the first only).
    """
    _check_settings(sequences, layout, labels)
    root = Path(folder)
    listing = list_folder(root)
    layout, everything = _recognize(listing, layout, training=labels == "required")
    found = _without_labels(everything) if labels == "ignored" else everything
    convention = _choose_convention(root, layout, found, label_convention, labels)
    used = {name: everything[name] for name in found}
    notes = [*other_names(found, layout), *unused(listing, used, layout)]
    wanted = [*sequences] if labels == "ignored" else [*sequences, "label"]
    demanded = [] if allow_missing else [*sequences]
    demanded += ["label"] if labels == "required" else []
    strays = strays_in(listing.nifti, everything)
    problems = _problems(found, layout, wanted, demanded, strays)
    if problems and broken is None:
        sentences = [sentence for one in problems.values() for sentence in one]
        report = problem_report(f"the {plural(len(found), 'case')} of {root}", sentences)
        raise InputError("\n".join([report, *notes]))
    if broken is not None:
        broken |= {name: "; ".join(sentences) for name, sentences in problems.items()}
    for note in notes:
        say(note)
    return [
        Case(
            name,
            {key: sources[key][0] for key in sequences if key in sources},
            sources["label"][0] if "label" in sources else None,
            convention,
            layout,
        )
        for name, sources in sorted(found.items())
        if name not in problems
    ]


def check_layout(layout: str, *others: str) -> None:
    """Refuse a layout that is neither `auto` nor published nor one of the others.

    Raises:
        InputError: it is none of these.
    """
    known = ["auto", *others, *LAYOUTS]
    if layout not in known:
        raise InputError(f"no layout is called {layout!r}; known are {known}")


def describe(cases: Sequence[Case], *, layout: str | None = None) -> str:
    """Say in one line what was found: number of cases, layout, label convention, sequences.

    Args:
        cases: what was found.
        layout: what to call it, by default by the names of their layouts.
    """
    if not cases:
        return "no cases"
    present = [key for key in SEQUENCES if any(key in case.images for case in cases)]
    text = (
        f"{plural(len(cases), 'case')}, layout {layout or _joined(c.layout for c in cases)}, "
        f"labels {_joined(case.convention or 'none' for case in cases)}, "
        f"sequences {', '.join(present)}"
    )
    for key in present:
        lacking = sum(key not in case.images for case in cases)
        text += f"; {lacking} without {key}" if lacking else ""
    unlabeled = sum(case.label is None for case in cases)
    return text + (f"; {unlabeled} without a label" if unlabeled else "")


def _check_settings(sequences: Sequence[str], layout: str, labels: str) -> None:
    unknown = [key for key in sequences if key not in SEQUENCES]
    if unknown or not sequences or len(set(sequences)) != len(sequences):
        raise InputError(
            f"sequences is {list(sequences)}; expected one or more of {list(SEQUENCES)}, each once"
        )
    check_layout(layout)
    if labels not in LABEL_CHOICES:
        raise InputError(f"labels is {labels!r}; expected one of {list(LABEL_CHOICES)}")


def _problems(
    found: Found,
    layout: str,
    wanted: Sequence[str],
    demanded: Sequence[str],
    strays: Mapping[Path, Sequence[str]],
) -> dict[str, list[str]]:
    """Say what is wrong with the files of cases, by case."""
    problems: dict[str, list[str]] = {}
    for name, sources in sorted(found.items()):
        paths = {key: [source.path for source in sources[key]] for key in wanted if key in sources}
        expected = {key: LAYOUTS[layout].file_name(name, key) for key in wanted}
        sentences = case_problems(name, paths, expected=expected, demanded=demanded, strays=strays)
        if sentences:
            problems[name] = sentences
    return problems


def _choose_convention(
    root: Path, layout: str, found: Found, given: str | None, labels: str
) -> str | None:
    """Settle the label convention by names, by a `dataset.json`, or by the user's choice."""
    needed = labels == "required" or any("label" in sources for sources in found.values())
    where = f"{root} (layout {layout})"
    if described := None if LAYOUTS[layout].endings else described_convention(found):
        if given not in (None, described):
            raise InputError(
                f"label_convention is {given!r}, but dataset.json describes the labels of {where} "
                f"as {described}: leave label_convention out, or correct dataset.json"
            )
        return described
    asked = needed or given is not None
    possible = common_conventions(layout, list(found), where, needed=asked)
    default = LAYOUTS[layout].default
    return choose_convention(possible, given, needed=needed, where=where, default=default)


def _recognize(listing: Listing, layout: str, *, training: bool) -> tuple[str, Found]:
    """Find the one layout whose names fit; a label alone proves nothing."""
    tried = list(LAYOUTS) if layout == "auto" else [layout]
    matching: dict[str, Found] = {}
    files = listing.nifti
    for name in tried:
        found = _group(files, name, training=training, sure=layout != "auto")
        if any(key in sources for sources in found.values() for key in SEQUENCES):
            matching[name] = found
            files = _remaining(files, found)
    if len(matching) == 1:
        return next(iter(matching.items()))
    if matching:
        examples = [f"{name}: such as case {next(iter(cases))}" for name, cases in matching.items()]
        raise InputError(
            f"{listing.root} holds files of {len(matching)} layouts ({'; '.join(examples)}); "
            "expected one: give the folder of one of them, or choose with layout"
        )
    if has_channels(listing.nifti) and layout in ("auto", "nnunet"):
        return "nnunet", group_nnunet(listing.nifti)
    raise InputError(_not_recognized(listing, tried))


def _group(files: Sequence[Path], layout: str, *, training: bool, sure: bool) -> Found:
    """Sort the files of a layout into cases; in training without those that are for testing."""
    if LAYOUTS[layout].endings:
        return group_files(files, layout)
    files = [path for path in files if in_task_folder(path)]
    if training:
        files = [path for path in files if path.parent.name in TRAINING]
    if layout == "msd":
        return group_msd(files)
    return group_nnunet(files) if sure or has_channels(files) else {}


def _remaining(files: Sequence[Path], found: Found) -> list[Path]:
    """The files that are neither taken nor another version of what is taken of the same case."""
    paths = {
        (source.path, name)
        for name, kinds in found.items()
        for sources in kinds.values()
        for source in sources
    }
    taken = {path for path, _ in paths}
    cases = {(path.parent, name) for path, name in paths}
    return [
        path
        for path in files
        if path not in taken
        and not any((path.parent, name) in cases for name in beginnings(path.name))
    ]


def _not_recognized(listing: Listing, tried: Sequence[str]) -> str:
    nifti, files = listing.nifti, listing.files
    dicom = [] if nifti else [path for path in files[:20] if is_dicom(path)]
    if dicom:
        return (
            f"{listing.root} holds DICOM files such as {listing.short(dicom[0])} and no NIfTI "
            "file; expected NIfTI: cggm dicom convert writes it (docs/dicom.md), cggm prepare then "
            f"registers it and strips the skull; names such as {LAYOUTS['brats2018'].example}"
        )
    names = [listing.short(path) for path in (nifti or files)[:3]]
    what = f"{plural(len(nifti), 'NIfTI file')} of {plural(len(files), 'file')}"
    folders = plural(len(listing.folders), "folder")
    empty = f": there is no file in its {folders}" if listing.folders else ": it is empty"
    such = f", such as {', '.join(names)}" if names else empty
    known = "; ".join(f"{name} ({LAYOUTS[name].example})" for name in tried)
    deep = "".join(f"; {note}" for note in too_deep(listing))
    return (
        f"no case was recognized in {listing.root}: found {what}{such}{deep}; expected a layout "
        f"of: {known}"
    )


def _without_labels(found: Found) -> Found:
    images = {
        name: {key: files for key, files in sources.items() if key != "label"}
        for name, sources in found.items()
    }
    return {name: sources for name, sources in images.items() if sources}


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))
