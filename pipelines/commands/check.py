"""`cggm check`: what lies in a folder or file of data, and what is wrong with it.

It reads all of BraTS cases, a feature set, a pickle of CMU-MOSI, or a folder of IEMOCAP or
UPMC-Food 101.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from tqdm import tqdm

from ...data.brats.case_files import case_problems
from ...data.brats.cases import SEQUENCES, Case, check_layout, describe, find_cases
from ...data.brats.checks import plural
from ...data.brats.nifti import check_cases
from ...data.errors import InputError, problem_report
from ...data.features.earlier import refuse_earlier
from ...data.features.feature_set import FeatureSet, check_feature_set, open_feature_set
from ...data.features.file import SUFFIX
from ...data.features.header import FORMAT, HEADER
from ...data.features.table import SAMPLES
from ...data.published.food101 import MOST_LEFT_OUT, read_food101
from ...data.published.iemocap import CLASSES, read_iemocap
from ...data.published.mosi import read_mosi
from ...data.published.published_set import Modality, PublishedSet
from ..segmentation.preparation.case_list import (
    FOLDERS,
    find_cases_to_prepare,
    is_one_folder_each,
)
from .convert import (
    CheckDuplicates,
    Classes,
    FileName,
    Fold,
    MostLeftOut,
    Name,
    Padding,
    show,
)

_NOT_TO_TRAIN = (
    "a folder for each patient is read by cggm segment and cggm prepare; training, evaluation and "
    "inference need names such as P01_flair.nii.gz"
)

Kind = Literal["brats", "features", "mosi", "iemocap", "food101"]


def main(
    source: Annotated[Path, typer.Argument(help="A folder, or the pickle of CMU-MOSI.")],
    kind: Annotated[
        Kind | None, typer.Option(help="Of the data, instead of what it looks like.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of the files of BraTS: auto, folders or a published one.")
    ] = "auto",
    label_convention: Annotated[
        str | None, typer.Option("--label_convention", help="Of the masks of BraTS.")
    ] = None,
    sequences: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME ...", help=f"Of BraTS, by default {' '.join(SEQUENCES)}."),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Masks of BraTS: required, optional or ignored.")
    ] = "optional",
    allow_missing: Annotated[
        bool, typer.Option("--allow_missing", help="Accept missing sequences of BraTS.")
    ] = False,
    padding: Padding = "each",
    name: Name = "CMU-MOSI",
    fold: Fold = "1",
    audio: FileName = "comparE",
    vision: FileName = "denseface",
    text: FileName = "bert_large",
    classes: Classes = None,
    most_left_out: MostLeftOut = MOST_LEFT_OUT,
    check_duplicates: CheckDuplicates = False,
) -> None:
    """Check data: BraTS cases, a feature set, or a published set of features."""
    if not source.exists():
        raise InputError(f"there is no file or folder {source}; is the path right?")
    kind = kind or recognize(source)
    if kind == "features":
        _conclude(*_check_set(source))
        return
    if kind == "brats":
        check_layout(layout, FOLDERS)
        if layout == FOLDERS and labels == "required":
            raise InputError(
                "labels is 'required', and no masks are read in layout folders: leave --labels "
                "out, or name files such as P01_flair.nii.gz and P01_seg.nii.gz"
            )
        notes: list[str] = []
        wanted = sequences or SEQUENCES
        try:
            cases = find_cases(
                source,
                sequences=wanted,
                layout=layout,
                label_convention=label_convention,
                labels=labels,
                allow_missing=allow_missing,
                say=notes.append,
            )
            print(describe(cases), flush=True)
        except InputError:
            if layout not in ("auto", FOLDERS) or labels == "required":
                raise
            if layout == "auto" and not is_one_folder_each(source):
                raise
            cases = _cases_in_folders(source, wanted, allow_missing=allow_missing)
            print(describe(cases, layout=FOLDERS), flush=True)
            notes.append(_NOT_TO_TRAIN)
        _conclude(*_check_brats(cases, notes))
        return
    if kind == "mosi":
        published = read_mosi(source, padding=padding, name=name, progress=show)
    elif kind == "iemocap":
        published = read_iemocap(
            source,
            fold=fold,
            audio=audio,
            vision=vision,
            text=text,
            classes=classes or CLASSES,
            progress=show,
        )
    else:
        published = read_food101(
            source,
            most_left_out=most_left_out,
            check_duplicates=check_duplicates,
            progress=show,
        )
    print("\n".join([*published.describe(), *(f"note: {note}" for note in published.notes)]))
    print(f"it can be converted: cggm convert {kind} {source} OUTPUT")


def _conclude(summary: str, problems: list[str]) -> None:
    """Print every problem, then the summary; a problem makes the command fail."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(summary)
    if problems:
        raise typer.Exit(1)


def recognize(source: str | Path) -> Kind:
    """Say which kind of data a file or folder holds, by names alone; "brats" when in doubt."""
    path = Path(source)
    if path.is_file():
        return "mosi"
    if _is_header(path / HEADER):
        return "features"
    if (path / "target").is_dir():
        return "iemocap"
    titles = (path / "images").is_dir() and any(path.glob("texts/*_titles.csv"))
    lists = (path / "train.json").is_file() and (path / "test.json").is_file()
    return "food101" if titles or lists else "brats"


def _is_header(path: Path) -> bool:
    """BraTS of the Medical Segmentation Decathlon has a file of this name, too."""
    try:
        return f'"{FORMAT}"' in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _cases_in_folders(source: Path, sequences: Sequence[str], *, allow_missing: bool) -> list[Case]:
    """List the cases of a folder for each patient, as `cggm segment` reads them, without masks.

    Raises:
        InputError: there is none, or cases are broken.
    """
    found, faults = find_cases_to_prepare(source, layout=FOLDERS)
    problems, cases = list(faults.values()), []
    for case in found:
        files = {key: [one.path] for key, one in case.images.items() if key in sequences}
        problems += case_problems(
            case.name,
            files,
            expected={key: f"{key}.nii.gz" for key in sequences},
            demanded=() if allow_missing else sequences,
            strays={},
        )
        cases.append(replace(case, images={key: case.images[key] for key in files}))
    if problems:
        raise InputError(problem_report(f"the {plural(len(found), 'case')} of {source}", problems))
    return cases


def _check_brats(cases: list[Case], notes: list[str]) -> tuple[str, list[str]]:
    """Read all volumes; return lines to end with, and every problem."""
    problems = []
    for case in tqdm(cases, unit="case", disable=None):
        problems += check_cases([case])
    broken = len({name for name, _ in problems})
    summary = f"{len(cases) - broken} of {plural(len(cases), 'case')} can be used"
    return "\n".join([summary, *notes]), [text for _, text in problems]


def _check_set(folder: Path) -> tuple[str, list[str]]:
    """Print what a feature set holds; return a line to end with, and every problem."""
    refuse_earlier(folder)
    if (folder / SAMPLES).is_file() and not any(folder.glob(f"*{SUFFIX}")):
        raise InputError(
            f"{folder} has samples but no features yet: extract them from the images and texts "
            f"of {SAMPLES} with cggm extract"
        )
    problems = check_feature_set(folder)
    try:
        features = open_feature_set(folder, labels="optional")
    except InputError as error:
        texts = problems if str(error) in problems else [*problems, str(error)]
        return "it cannot be used", texts
    print("\n".join(_description(features)), flush=True)
    summary = f"{len(features.ids):,} samples can be used"
    if all(label is None for label in features.labels.values()):
        problems = [text for text in problems if "no label" not in text]
        summary = (
            f"{len(features.ids):,} samples can be predicted; without labels none can train or test"
        )
    return "it cannot be used" if problems else summary, problems


def _description(features: FeatureSet) -> list[str]:
    rows = [
        {
            "id": name,
            "label": _label(features, name),
            "split": features.splits.get(name, "") or "no split",
        }
        for name in features.ids
    ]
    modalities = {
        name: Modality(file.width, np.asarray(file.lengths).tolist(), lambda: iter(()))
        for name, file in features.files.items()
    }
    as_published = PublishedSet(
        name=f"{features.name}{' (generated)' if features.generated else ''}",
        task=features.task,
        classes=features.classes,
        rows=rows,
        modalities=modalities,
        notes=[],
        files=[],
        settings={},
        source="",
        terms="",
    )
    return as_published.describe()


def _label(features: FeatureSet, name: str) -> str | float | None:
    label = features.labels[name]
    if features.classes is None or label is None:
        return label
    return features.classes[int(label)]
