"""What lies in a folder of cases: what is wrong with a case's files, and what is not used.

Nothing that looks like a case disappears: what is not read is named.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .checks import plural
from .layouts import LAYOUTS, NIFTI, Found, beginnings
from .task_folders import IMAGES, LABELS

_DEPTH = 5  # derivatives/tool/sub-01/ses-01/anat of BIDS
_DICOM = (".dcm", ".ima", "dicomdir")
_CASE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass
class Listing:
    """What a folder holds, without hidden entries: files, folders, folders that lie too deep."""

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    deeper: list[Path] = field(default_factory=list)

    @property
    def nifti(self) -> list[Path]:
        """The files with the name of a NIfTI file."""
        return [path for path in self.files if path.name.lower().endswith(NIFTI)]

    def short(self, path: Path) -> str:
        """Name a path below the root."""
        return path.relative_to(self.root).as_posix()


def list_folder(root: Path) -> Listing:
    """List what a folder holds, at most five folders deep.

    Raises:
        InputError: it is no folder, or a folder in it cannot be listed.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}; expected a folder of BraTS cases")

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}): is it yours?")

    listing = Listing(root)
    for files, folders, deep in walk(root, _DEPTH, refuse):
        listing.files += files
        (listing.deeper if deep else listing.folders).extend(folders)
    return listing


def holds_nifti(root: Path) -> bool:
    """Whether a folder holds a NIfTI file, as deep as it is listed; it stops at the first."""
    files = (path for files, _, _ in walk(root, _DEPTH) for path in files)
    return any(path.name.lower().endswith(NIFTI) for path in files)


def walk(
    root: Path, depth: int, refuse: Callable[[OSError], object] | None = None
) -> Iterator[tuple[list[Path], list[Path], bool]]:
    """Go through a folder and those in it, without hidden entries.

    Args:
        root: the folder.
        depth: how many folders deep; a limit also ends loops of links.
        refuse: called when a folder cannot be listed; without it that one is passed over.

    Yields:
        For each folder its files, its folders, and whether these lie too deep to be gone into.
    """
    for here, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        visible = sorted(name for name in folders if not name.startswith("."))
        deep = len(Path(here).relative_to(root).parts) >= depth
        folders[:] = [] if deep else visible
        files = [Path(here, name) for name in sorted(names) if not name.startswith(".")]
        yield files, [Path(here, name) for name in visible], deep


def is_dicom(path: Path) -> bool:
    """Say whether a file is DICOM, by its name or its first bytes."""
    if path.name.lower().endswith(_DICOM) or not path.is_file():  # a pipe would never end
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def strays_in(files: Iterable[Path], found: Found) -> dict[Path, list[str]]:
    """List the NIfTI files of each folder whose names say nothing: perhaps misnamed ones."""
    known = {source.path for kinds in found.values() for kind in kinds.values() for source in kind}
    unknown: dict[Path, list[str]] = defaultdict(list)
    for path in files:
        if path not in known:
            unknown[path.parent].append(path.name)
    return unknown


def case_problems(
    name: str,
    files: Mapping[str, Sequence[Path]],
    *,
    expected: Mapping[str, str],
    demanded: Sequence[str],
    strays: Mapping[Path, Sequence[str]],
) -> list[str]:
    """Say everything that is wrong with the files of one case, one sentence each.

    Args:
        name: case ID.
        files: the files found for each sequence and for "label".
        expected: the published file name of each sequence that is wanted, and of "label".
        demanded: the sequences, and "label", without which the case is refused.
        strays: per folder, the NIfTI files that belong to no case.
    """
    anywhere = [path for paths in files.values() for path in paths]
    if not _CASE_NAME.fullmatch(name) or not name.strip("."):
        found = f" ({anywhere[0]})" if anywhere else ""
        return [
            f"case {name!r}{found} has no usable ID; expected 1 to 128 letters A-Z, digits, dots, "
            "dashes or underscores: rename its files"
        ]
    if mixed := _of_several_folders(files):
        return [
            f"case {name}: its images lie in {' and '.join(map(str, mixed))}; expected one folder, "
            "or one for each sequence: if these are two patients give their files different names, "
            "or else put them together"
        ]
    problems = [
        f"case {name}: {len(paths)} files for {key}: {' and '.join(map(str, paths))}; expected "
        "one: remove or rename the others"
        for key, paths in files.items()
        if len(paths) > 1
    ]
    if len({tuple(paths) for paths in files.values()}) < len(files):
        problems = problems[:1]  # one 4D file stands for several sequences
    wanted = [key for key in expected if key != "label"]
    if not files.keys() - {"label"}:
        return [*problems, f"case {name}: no file for any of {', '.join(wanted)}"]
    folder = anywhere[0].parent
    unknown = strays.get(folder, ())
    for key in expected:
        if key in files:
            continue
        if other := _in_another_format(folder, expected[key]):
            problems.append(
                f"case {name}: no file for {key}, but {other}, which is no NIfTI file: convert it "
                f"to {expected[key]}"
            )
        elif key in demanded:
            tried = f"(tried {expected[key]}, also without .gz, in {folder})"
            problems.append(f"case {name}: no file for {key} {tried}{_remedy(key, unknown)}")
        elif near := [file for file in unknown if _near(folder / file, name) == key]:
            problems.append(
                f"case {name}: no file for {key}, but {folder / near[0]} may be it: rename it to "
                f"{expected[key]}, or take it away to go without {key}"
            )
    return problems


def unused(listing: Listing, found: Found, layout: str) -> list[str]:
    """Say what in a folder looks like cases and is not used, a sentence for each kind of it."""
    sources = [source for kinds in found.values() for files in kinds.values() for source in files]
    notes = []
    if empty := _without_images(listing, [source.path for source in sources]):
        notes.append(f"{_counted(listing, empty, 'folder')} without any image")
    own = _folders_of_one_case(listing, found)
    files = [
        folder / name
        for folder, names in strays_in(listing.nifti, found).items()
        for name in names
        if folder not in own and not _is_extra(name, found)
    ]
    left_out = [path for path in files if path.parent.name in IMAGES | LABELS]
    if left_out:
        notes.append(f"{_counted(listing, left_out, 'file')}, left out: they are not for training")
    if files := [path for path in files if path not in left_out]:
        notes.append(
            f"{_counted(listing, files, 'NIfTI file')} of no case, since names are expected to be "
            f"{LAYOUTS[layout].example}"
        )
    return [f"not used: {note}" for note in [*notes, *too_deep(listing)]]


def too_deep(listing: Listing) -> list[str]:
    """Say which folders were not looked into, if there are any."""
    deep = listing.deeper
    return [f"{_counted(listing, deep, 'folder')}, too deep to be looked into"] if deep else []


def other_names(found: Found, layout: str) -> list[str]:
    """Say which sequences are read from files with another ending than the published one."""
    notes = []
    kinds = LAYOUTS[layout].endings
    for kind in kinds:
        odd = [
            sources[kind][0].path.name
            for name, sources in found.items()
            if kind in sources
            and not sources[kind][0].path.name.startswith(f"{name}{kinds[kind][0]}.")
        ]
        if odd and layout != "bids":  # where the name of a file has parts that are free
            notes.append(f"{kind} is read from {odd[0]} in {plural(len(odd), 'case')}")
    return notes


def _without_images(listing: Listing, used: Sequence[Path]) -> list[Path]:
    """List the topmost folders that hold no NIfTI file and look as if they should."""
    filled = {folder for path in listing.nifti for folder in path.parents}
    filled |= {folder for path in listing.deeper for folder in path.parents}
    first = {folder: path for path in reversed(listing.files) for folder in path.parents}
    forms = {_form(part) for path in used for part in path.relative_to(listing.root).parts[:-1]}
    return [
        folder
        for folder in listing.folders
        if folder not in filled
        and (folder.parent in filled or folder.parent == listing.root)
        and (folder not in first or _form(folder.name) in forms or is_dicom(first[folder]))
    ]


def _form(name: str) -> str:
    """What names of one kind have in common: everything but their digits."""
    return re.sub(r"\d+", "0", name)


def _folders_of_one_case(listing: Listing, found: Found) -> set[Path]:
    """List the folders that belong to one case: whatever else is in them is part of it."""
    cases: dict[Path, set[str]] = defaultdict(set)
    for name, kinds in found.items():
        for source in (source for files in kinds.values() for source in files):
            cases[source.path.parent].add(name)
    top = listing.root.resolve().name  # of a flat folder, or the folder of a case
    return {
        folder
        for folder, names in cases.items()
        if len(names) == 1 and (folder != listing.root or top.startswith(tuple(names)))
    }


def _is_extra(name: str, found: Found) -> bool:
    """Whether a file belongs to a used case, whatever it may be: it begins with the case's ID."""
    return any(beginning in found for beginning in beginnings(name))


def _counted(listing: Listing, paths: Sequence[Path], noun: str) -> str:
    """Count paths and name up to three, of different folders where there are some."""
    first: dict[Path, Path] = {}
    for path in paths:
        first.setdefault(path.parent, path)
    some = list(first.values()) if len(first) > 1 else list(paths)
    shown = ", ".join(listing.short(path) for path in some[:3])
    more = len(paths) - len(some[:3])
    return f"{plural(len(paths), noun)} ({shown}{f' and {more} more' if more else ''})"


# A label or another sequence is never the file that is missing.
_NAMED_BY_A_LAYOUT = re.compile(
    r"[_-](seg|flair|t1|t1ce|t1gd|t2|t2f|t1n|t1c|t2w)\.nii(\.gz)?$", re.IGNORECASE
)
_OTHER_FORMATS = (".img", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".dcm")
_MASK = re.compile(r"mask|brain|skull", re.IGNORECASE)  # nor a mask of the brain


def _of_several_folders(files: Mapping[str, Sequence[Path]]) -> list[Path]:
    """Folders of the images of a case, where they are not one, and not one for each sequence."""
    if any(len(paths) > 1 for paths in files.values()):
        return []  # told as several files for a sequence
    images = [path for key, paths in files.items() if key != "label" for path in paths]
    folders = sorted({path.parent for path in images})
    return folders if 1 < len(folders) < len(images) else []


def _in_another_format(folder: Path, expected: str) -> Path | None:
    """An image that would be the one expected, were it in NIfTI."""
    stem = Path(expected).name.removesuffix(".nii.gz")
    others = (folder / f"{stem}{end}" for end in _OTHER_FORMATS)
    return next((path for path in others if path.is_file()), None)


def _remedy(key: str, names: Sequence[str]) -> str:
    names = [n for n in names if not (_NAMED_BY_A_LAYOUT.search(n) or _MASK.search(n))]
    if names:
        return f"; that folder also holds {', '.join(names[:3])}: rename it?"
    if key == "label":
        return ': add it, or use labels="ignored" if no label is needed'
    return ": add it, or go without it (--allow_missing)"


def _near(file: Path, case: str) -> str | None:
    """Guess which sequence of a case a file with an unknown name might be."""
    if not file.name.startswith(case) and not file.parent.name.startswith(case):
        return None
    return guessed_sequence(file.name.removeprefix(case))


def guessed_sequence(name: str) -> str | None:
    """Guess which sequence the unknown name of a file might mean; None where it means another."""
    text = name.lower()
    if re.search("mask|seg|label|star|map", text):
        return None
    if "fla" in text or "tirm" in text:
        return "flair"
    if re.search("t1w?[^a-z0-9]?(c|gd|post|km)|post|contrast|gado", text):
        return "t1ce"
    return next((key for key in ("t1", "t2") if key in text), None)
