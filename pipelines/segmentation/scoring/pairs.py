"""Pairs of mask files, predicted and true, by the case in their names."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from ....data.brats.case_files import walk
from ....data.brats.checks import plural
from ....data.brats.layouts import NIFTI
from ....data.errors import InputError, some
from ..output_folder import MARK, case_folders, read_content

_DEPTH = 4  # folders deep
_MASK = re.compile(r"(?:^|[_-])(seg|mask|label|pred|prediction|segmentation)$", re.IGNORECASE)
_SEQUENCE = re.compile(r"(?:^|[_-])(flair|t1|t1ce|t1c|t1n|t2|t2f|t2w)$", re.IGNORECASE)
_IMAGE_FOLDERS = ("imagesTr", "imagesTs")  # of the Medical Segmentation Decathlon and nnU-Net


class Pair(NamedTuple):
    """The two masks of a case."""

    case: str
    prediction: Path
    truth: Path


class Pairing(NamedTuple):
    """What two folders hold.

    Attributes:
        pairs: sorted by case.
        unpaired: a sentence for each case that cannot be scored, by its name.
        notes: what else lies there and was left aside.
    """

    pairs: list[Pair]
    unpaired: dict[str, str]
    notes: list[str]


def pair_masks(predictions: str | Path, truth: str | Path) -> Pairing:
    """Find the prediction and the truth of each case.

    Names may be `<case>.nii.gz` or end in `_seg`, `-seg`, `_mask`, `_label` or `_pred`; a file that
    is called only that (`seg.nii.gz`) has its case from its folder. Files that are named like an
    MRI sequence are images, as are those in `imagesTr`.

    Args:
        predictions: a folder, up to four deep, or a file. Of a folder of `cggm segment` the masks
            that its records name are taken, and nothing else in it.
        truth: likewise. Two files are a pair whatever their names.

    Raises:
        InputError: there is no such path, a folder holds no mask, or no case is in both.
    """
    sides = {"prediction": Path(predictions), "truth": Path(truth)}
    if all(path.is_file() for path in sides.values()):
        return _pair_of_files(**sides)
    notes: list[str] = []
    found = {side: _masks(path, side, notes) for side, path in sides.items()}
    pairs: list[Pair] = []
    unpaired: dict[str, str] = {}
    for case in sorted({*found["prediction"], *found["truth"]}):
        files = {side: found[side].get(case, []) for side in sides}
        fault = _fault(case, files, sides)
        if fault:
            unpaired[case] = fault
        else:
            pairs.append(Pair(case, files["prediction"][0], files["truth"][0]))
    if not pairs:
        examples = [f"{side}: {some(list(cases), 3)}" for side, cases in found.items()]
        raise InputError(
            f"no case is both in {predictions} and in {truth} ({'; '.join(examples)}): give masks "
            "of the same cases the same names, apart from an ending such as _seg\n  "
            + "\n  ".join(list(unpaired.values())[:10])
        )
    return Pairing(pairs, unpaired, notes)


def case_of(path: Path) -> str:
    """The case in the name of a mask file.

    >>> case_of(Path("a/BraTS2021_00005_seg.nii.gz")), case_of(Path("P1/seg.nii.gz"))
    ('BraTS2021_00005', 'P1')
    """
    return _MASK.sub("", _stem(path)) or path.absolute().parent.name


def _pair_of_files(prediction: Path, truth: Path) -> Pairing:
    case, other = case_of(truth), case_of(prediction)
    notes = [] if case == other else [f"the prediction is called {other}, the truth {case}"]
    return Pairing([Pair(case, prediction, truth)], {}, notes)


def _masks(path: Path, side: str, notes: list[str]) -> dict[str, list[Path]]:
    """The masks of a file or folder by case; what else lies there is noted."""
    if not path.exists():
        raise InputError(f"there is no file or folder {path}; is the path right?")
    if (path / MARK).is_file():
        return _segmented(path, side, notes)
    inside = [] if path.is_file() else [file for part in walk(path, _DEPTH) for file in part[0]]
    files = [path] if path.is_file() else inside
    nifti = [file for file in files if _is_nifti(file)]
    masks = nifti if path.is_file() else [file for file in nifti if not _is_image(file)]
    if not masks:
        raise InputError(
            f"{path} holds no mask: found {plural(len(files), 'file')}, "
            f"{len(nifti)} of them NIfTI ({some([file.name for file in files], 3) or 'none'}); "
            "expected files such as <case>.nii.gz or <case>_seg.nii.gz"
        )
    for (noun, kind), aside in (
        (("image", "of sequences"), [file for file in nifti if file not in set(masks)]),
        (("file", "other than NIfTI"), [file for file in files if file not in set(nifti)]),
    ):
        if aside:
            names = some([file.name for file in aside], 3)
            notes.append(f"{side}: {plural(len(aside), noun)} {kind} left aside ({names})")
    by_case: dict[str, list[Path]] = defaultdict(list)
    for file in masks:
        by_case[case_of(file)].append(file)
    return dict(by_case)


def _segmented(output: Path, side: str, notes: list[str]) -> dict[str, list[Path]]:
    """The masks of an output folder of `cggm segment`; what they could not tell is noted."""
    masks = {}
    for folder in case_folders(output):
        try:
            record = read_content(folder)
            masks[folder.name] = [folder / record["mask"]]
        except (InputError, KeyError, TypeError) as error:
            notes.append(f"{side}: {folder.name} left aside ({error})")
            continue
        for region, reason in (record.get("untold") or {}).items():
            notes.append(
                f"{side}: {folder.name} has no {region} because it could not be told ({reason}); "
                "it is scored as an empty one"
            )
    if not masks:
        raise InputError(f"{output} holds no finished case of cggm segment")
    return masks


def _fault(case: str, files: dict[str, list[Path]], sides: dict[str, Path]) -> str:
    for side, several in files.items():
        if len(several) > 1:
            return (
                f"case {case}: {len(several)} masks for the {side} "
                f"({some(several, 3)}); expected one: remove or rename the others"
            )
    for side, other in (("prediction", "truth"), ("truth", "prediction")):
        if not files[side]:
            return (
                f"case {case}: no {side} in {sides[side]} for {files[other][0]}; add it, or "
                f"leave the case out of {sides[other]}"
            )
    return ""


def _is_image(file: Path) -> bool:
    return file.parent.name in _IMAGE_FOLDERS or bool(_SEQUENCE.search(_stem(file)))


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _is_nifti(file: Path) -> bool:
    return file.name.endswith(NIFTI)
