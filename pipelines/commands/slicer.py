"""`cggm slicer`: masks to 3D Slicer, and corrected ones back as cases with labels."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import typer
from tqdm import tqdm

from ...data.brats.cases import SEQUENCES, Case, find_cases
from ...data.brats.checks import Grid, check_same_grid, named_gzip, plural
from ...data.brats.conventions import CLASSES, label_convention_named
from ...data.brats.layouts import LAYOUTS, NIFTI, Source
from ...data.brats.nifti import Volume, read_case, read_nifti, write_mask
from ...data.errors import InputError
from ...data.files import digest_of, whole_folder, write_json
from ..segmentation.follow.visits import read_visits
from ..segmentation.scoring.pairs import case_of
from ..segmentation.slicer_segmentation import SUFFIX, read_from_slicer, write_for_slicer

WRITTEN = "brats2021"  # what <case>_seg.nii.gz means by its name
RECORD = "corrected.json"

Read = Callable[[], tuple[np.ndarray, np.ndarray]]

app = typer.Typer(
    help="Correct masks in 3D Slicer; docs/correcting.md says more.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("export")
def export(
    masks: Annotated[Path, typer.Argument(help="A folder of cggm segment or infer, or one mask.")],
    output: Annotated[Path, typer.Argument(help="Gets <case>.seg.nrrd.")],
    label_convention: Annotated[
        str, typer.Option("--label_convention", metavar="NAME", help="Of the masks.")
    ] = WRITTEN,
) -> None:
    """Write masks as segmentations of 3D Slicer, with names, colors and codes."""
    label_convention_named(label_convention)
    failures: list[str] = []
    found = _masks_in(masks, label_convention, failures)
    total = len(found) + len(failures)
    for name, read in tqdm(found.items(), unit="mask", disable=None):
        try:
            write_for_slicer(*read(), output / f"{name}{SUFFIX}")
        except InputError as error:
            failures.append(str(error))
    _finish(total, failures, f"segmentations in {output}; open each with its images")


@app.command("import")
def import_(
    edited: Annotated[Path, typer.Argument(help="A folder of <case>.seg.nrrd or <case>.nii.gz.")],
    images: Annotated[Path, typer.Argument(help="The folder with the images of these cases.")],
    output: Annotated[Path, typer.Argument(help="Gets a folder for each case: images and label.")],
    label_convention: Annotated[
        str,
        typer.Option(
            "--label_convention",
            metavar="NAME",
            help="Of edited NIfTI files; with brats2024 labels are written in it, too, and can "
            "have a resection cavity.",
        ),
    ] = WRITTEN,
) -> None:
    """Bring corrected masks back as a folder of cases with labels, to train on."""
    label_convention_named(label_convention)
    files = _edited_in(edited)
    cases = {c.name: c for c in find_cases(images, labels="ignored", allow_missing=True)}
    failures = [
        f"{file}: no case of {images} is called {name!r}: rename the file"
        for name, file in files.items()
        if name not in cases
    ]
    for name in tqdm([name for name in files if name in cases], unit="case", disable=None):
        try:
            _write_case(cases[name], files[name], output / name, label_convention)
        except InputError as error:
            failures.append(str(error))
    _finish(len(files), failures, f"cases with labels in {output}")


def _masks_in(path: Path, convention: str, failures: list[str]) -> dict[str, Read]:
    """What reads the mask of each case: of `cggm segment`, of `cggm infer`, or of any others."""
    if any(file.stem == file.parent.name for file in path.glob("*/*.json")):
        visits, broken = read_visits(path)
        failures += broken.values()
        return {visit.case: visit.classes for visit in visits}
    files = [path] if path.is_file() else []
    files = files or sorted(path.glob("masks/*.nii.gz")) or sorted(path.glob("*.nii.gz"))
    if not files:
        raise InputError(f"{path} holds no mask; expected a folder of cggm segment or cggm infer")
    return {case_of(file): partial(_read_mask, file, convention) for file in files}


def _read_mask(path: Path, convention: str) -> tuple[np.ndarray, np.ndarray]:
    image = read_nifti(path, str(path)).volume(None, None)
    return label_convention_named(convention).to_classes(image.voxels, str(path)), image.affine


def _edited_in(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.endswith(SUFFIX):
            name = path.name.removesuffix(SUFFIX)
        elif path.name.endswith(NIFTI):
            name = case_of(path)
        else:
            continue
        if name in files:
            raise InputError(f"{path} and {files[name]} are of one case: keep one of them")
        files[name] = path
    if not files:
        raise InputError(f"{folder} holds no <case>{SUFFIX} and no <case>.nii.gz")
    return files


def _write_case(case: Case, edited: Path, target: Path, convention: str) -> None:
    """Copy the images of a case, and write its label on their grid.

    Its names are those of a layout that allows the label convention.
    """
    written = convention if label_convention_named(convention).has_cavity else WRITTEN
    layout = LAYOUTS["brats2018" if written == WRITTEN else "brats2023"]
    volume = read_case(case, SEQUENCES)
    classes = _classes(edited, volume, convention)
    if not classes.any():
        raise InputError(f"{edited} is empty: mark the tumor, or leave the case out")
    if "t1ce" not in case.images and not (classes == CLASSES.index("ET")).any():
        print(
            f"note: case {case.name} has no t1ce and its label no ET: a training would learn that "
            "there is none; mark it if you know it, or leave the case out"
        )
    with whole_folder(target, replace=_is_ours) as folder:
        for sequence, source in case.images.items():
            _copy(source, folder / layout.file_name(case.name, sequence))
        label = folder / layout.file_name(case.name, "label")
        write_mask(classes, volume.native, label, written)
        made = {"case": case.name, "label": edited.name, "sha256": digest_of(edited)}
        write_json(folder / RECORD, made)


def _is_ours(target: Path) -> bool:
    """Whether a folder may be replaced: an earlier import, never a case of somebody's data."""
    if not (target / RECORD).is_file():
        raise InputError(f"{target} is there and no corrected case; choose another output folder")
    return True


def _classes(edited: Path, volume: Volume, convention: str) -> np.ndarray:
    shape = next(iter(volume.images.values())).shape
    grid = Grid(f"case {volume.name}", shape, volume.affine)
    if edited.name.endswith(SUFFIX):
        return read_from_slicer(edited, grid)
    image = read_nifti(edited, f"case {volume.name}: {edited}").volume(None, None)
    check_same_grid(grid, image.grid)
    return label_convention_named(convention).to_classes(image.voxels, str(edited))


def _copy(source: Source, target: Path) -> None:
    """Copy an image to a name in .nii.gz, which loses the .gz where the image has none."""
    if source.channel is None:
        plain = target if named_gzip(source.path) else target.with_suffix("")
        shutil.copyfile(source.path, plain)
        return
    image = nib.load(source.path)
    assert isinstance(image, nib.Nifti1Image), "read_case has read it"
    nib.save(image.slicer[..., source.channel], target)


def _finish(total: int, failures: list[str], what: str) -> None:
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    print(f"{total - len(failures)} of {plural(total, 'case')}: {what}")
    if failures:
        raise typer.Exit(1)
