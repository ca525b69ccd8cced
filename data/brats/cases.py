"""The cases of a folder, and the file that holds each sequence of a case.

Three published layouts are recognized by their file names alone; no file is opened here
except the `dataset.json` of the Medical Segmentation Decathlon.

- `brats2018` (2018 to 2021): `<ID>_{flair,t1,t1ce,t2,seg}.nii[.gz]`; labels are `brats2021`.
- `brats2023` (2023 and later): `<ID>-{t2f,t1n,t1c,t2w,seg}.nii[.gz]`; labels are `brats2023` or,
  with a resection cavity, `brats2024`: names do not tell which, so the user has to.
- `msd` (Task01_BrainTumour): `imagesTr/<ID>.nii.gz` with four volumes, `labelsTr/<ID>.nii.gz`.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .checks import case_problems, plural, problem_report
from .conventions import choose_convention

SEQUENCES = ("flair", "t1", "t1ce", "t2")
LABEL_CHOICES = ("required", "optional", "ignored")

_NIFTI = (".nii", ".nii.gz")
_DEPTH = 4  # data/Training/HGG/<ID>/ is three levels; a limit also ends loops of links
_MSD_NAMES = {"t1w": "t1", "t1gd": "t1ce", "t1c": "t1ce", "t2w": "t2"}


@dataclass(frozen=True)
class Source:
    """Where one image lies: a file, or one of the `channels` volumes of a 4D file."""

    path: Path
    channel: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class Case:
    """One examination of one patient.

    Attributes:
        name: case ID, safe to use as a file name.
        images: source of each sequence that is there, keyed by sequence name.
        label: source of the label, if there is one and it is wanted.
        convention: name of the label convention; None if the layout proves none and none was given.
        layout: name of the layout it was found in.
    """

    name: str
    images: dict[str, Source]
    label: Source | None
    convention: str | None
    layout: str


@dataclass(frozen=True)
class _Layout:
    conventions: tuple[str, ...]
    example: str
    endings: Mapping[str, str] = field(default_factory=dict)  # kind -> what follows the case ID

    def file_name(self, case: str, kind: str) -> str:
        """Name the file that should hold a sequence or the "label" of a case."""
        if self.endings:
            return f"{case}{self.endings[kind]}.nii.gz"
        return f"{'labelsTr' if kind == 'label' else 'imagesTr'}/{case}.nii.gz"


_LAYOUTS = {
    "brats2018": _Layout(
        ("brats2021",),
        "<ID>_{flair,t1,t1ce,t2,seg}.nii.gz",
        {"flair": "_flair", "t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "label": "_seg"},
    ),
    "brats2023": _Layout(
        ("brats2023", "brats2024"),
        "<ID>-{t2f,t1n,t1c,t2w,seg}.nii.gz",
        {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "label": "-seg"},
    ),
    "msd": _Layout(("msd",), "imagesTr/<ID>.nii.gz with 4 volumes, labelsTr/<ID>.nii.gz"),
}

# case ID -> sequence or "label" -> every file found for it
_Found = dict[str, dict[str, list[Source]]]


def find_cases(
    folder: str | Path,
    *,
    sequences: Sequence[str] = SEQUENCES,
    layout: str = "auto",
    label_convention: str | None = None,
    labels: str = "required",
    allow_missing: bool = False,
) -> list[Case]:
    """List the cases of a folder in a published BraTS layout.

    Args:
        folder: folder of cases (sub-folders such as HGG and LGG are fine), or of one case.
        sequences: the sequences that are needed, out of `SEQUENCES`.
        layout: `auto`, `brats2018`, `brats2023` or `msd`.
        label_convention: needed with labels in the layout `brats2023`; otherwise the layout proves
            it and another one is refused.
        labels: `required` (each case must have one), `optional` or `ignored`.
        allow_missing: accept cases that lack sequences, as long as one is there.

    Returns:
        The cases, sorted by name, at least one.

    Raises:
        InputError: a setting is unknown, nothing is recognized, or cases are broken (all of them
            are reported, not the first only).
    """
    _check_settings(sequences, layout, labels)
    root = Path(folder)
    files = _visible_files(root)
    layout, found = _recognize(root, files, layout)
    if labels == "ignored":
        found = {name: _without_label(sources) for name, sources in found.items()}
        found = {name: sources for name, sources in found.items() if sources}
    needs_convention = any("label" in sources for sources in found.values())
    convention = choose_convention(
        _LAYOUTS[layout].conventions,
        label_convention,
        needed=needs_convention or labels == "required",
        where=f"{root} (layout {layout})",
    )
    wanted = [*sequences] if labels == "ignored" else [*sequences, "label"]
    demanded = [] if allow_missing else [*sequences]
    demanded += ["label"] if labels == "required" else []
    strays = _strays(files, found)
    problems: list[str] = []
    for name, sources in sorted(found.items()):
        paths = {key: [source.path for source in sources[key]] for key in wanted if key in sources}
        expected = {key: _LAYOUTS[layout].file_name(name, key) for key in wanted}
        problems += case_problems(name, paths, expected=expected, demanded=demanded, strays=strays)
    if problems:
        raise InputError(problem_report(f"the {plural(len(found), 'case')} of {root}", problems))
    return [
        Case(
            name,
            {key: sources[key][0] for key in sequences if key in sources},
            sources["label"][0] if "label" in sources else None,
            convention,
            layout,
        )
        for name, sources in sorted(found.items())
    ]


def describe(cases: Sequence[Case]) -> str:
    """Say in one line what was found: number of cases, layout, label convention, sequences."""
    if not cases:
        return "no cases"
    present = [key for key in SEQUENCES if any(key in case.images for case in cases)]
    text = (
        f"{plural(len(cases), 'case')}, layout {_joined(case.layout for case in cases)}, "
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
    if layout != "auto" and layout not in _LAYOUTS:
        raise InputError(f"no layout is called {layout!r}; known are {['auto', *_LAYOUTS]}")
    if labels not in LABEL_CHOICES:
        raise InputError(f"labels is {labels!r}; expected one of {list(LABEL_CHOICES)}")


def _visible_files(root: Path) -> list[Path]:
    """List the files at most `_DEPTH` folders deep, without hidden ones."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}; expected a folder of BraTS cases")

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}): is it yours?")

    files: list[Path] = []
    for here, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        depth = len(Path(here).relative_to(root).parts)
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = visible if depth < _DEPTH else []
        files += [Path(here, name) for name in sorted(names) if not name.startswith(".")]
    return files


def _recognize(root: Path, files: Sequence[Path], layout: str) -> tuple[str, _Found]:
    """Find the one layout whose names fit; a label alone proves nothing."""
    nifti = [path for path in files if path.name.endswith(_NIFTI)]
    tried = list(_LAYOUTS) if layout == "auto" else [layout]
    found = {
        name: _group_msd(nifti) if name == "msd" else _group_by_ending(nifti, name)
        for name in tried
    }
    matching = [
        name
        for name, cases in found.items()
        if any(key in sources for sources in cases.values() for key in SEQUENCES)
    ]
    if len(matching) == 1:
        return matching[0], found[matching[0]]
    if matching:
        examples = [f"{name}: such as case {next(iter(found[name]))}" for name in matching]
        raise InputError(
            f"{root} holds files of {len(matching)} layouts ({'; '.join(examples)}); expected one: "
            "give the folder of one of them, or choose with layout"
        )
    names = [path.relative_to(root).as_posix() for path in (nifti or files)[:3]]
    what = f"{plural(len(nifti), 'NIfTI file')} of {plural(len(files), 'file')}"
    such = f", such as {', '.join(names)}" if names else ": it is empty"
    known = "; ".join(f"{name} ({_LAYOUTS[name].example})" for name in tried)
    raise InputError(
        f"no case was recognized in {root}: found {what}{such}; expected a layout of: {known}"
    )


def _strays(files: Sequence[Path], found: _Found) -> dict[Path, list[str]]:
    """List the NIfTI files of each folder whose names say nothing: perhaps misnamed ones."""
    known = {source.path for kinds in found.values() for kind in kinds.values() for source in kind}
    strays: dict[Path, list[str]] = defaultdict(list)
    for path in files:
        if path not in known and path.name.endswith(_NIFTI):
            strays[path.parent].append(path.name)
    return strays


def _without_label(sources: dict[str, list[Source]]) -> dict[str, list[Source]]:
    return {key: files for key, files in sources.items() if key != "label"}


def _group_by_ending(files: Sequence[Path], layout: str) -> _Found:
    kinds = {ending: kind for kind, ending in _LAYOUTS[layout].endings.items()}
    pattern = re.compile(rf"(.+)({'|'.join(kinds)})\.nii(?:\.gz)?")
    found: _Found = defaultdict(lambda: defaultdict(list))
    for path in files:
        match = pattern.fullmatch(path.name)
        if match:
            found[match[1]][kinds[match[2]]].append(Source(path))
    return {name: dict(sources) for name, sources in found.items()}


def _group_msd(files: Sequence[Path]) -> _Found:
    found: _Found = defaultdict(lambda: defaultdict(list))
    orders: dict[Path, Sequence[str]] = {}
    for path in files:
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        if path.parent.name == "labelsTr":
            found[name]["label"].append(Source(path))
        if path.parent.name == "imagesTr":
            task = path.parent.parent
            if task not in orders:
                orders[task] = _msd_order(task / "dataset.json")
            for channel, key in enumerate(orders[task]):
                found[name][key].append(Source(path, channel, len(orders[task])))
    return {name: dict(sources) for name, sources in found.items()}


def _msd_order(description: Path) -> Sequence[str]:
    """Read which volume is which sequence; by default in the order of `SEQUENCES`."""
    if not description.exists():
        return SEQUENCES
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        names = content.get("modality") or content.get("channel_names")
        if names is None:
            return SEQUENCES
        listed = [str(names[str(channel)]) for channel in range(len(names))]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{description} cannot be read ({type(error).__name__}: {error}); expected JSON with "
            '"modality": {"0": "FLAIR", …}: repair it, or remove it to use the published order'
        ) from error
    order = [_MSD_NAMES.get(name.lower(), name.lower()) for name in listed]
    if set(order) - set(SEQUENCES) or len(set(order)) != len(order):
        raise InputError(
            f"{description} names the volumes {listed}; expected each of FLAIR, T1w, t1gd, T2w at "
            "most once and nothing else: is this Task01_BrainTumour?"
        )
    return order


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))
