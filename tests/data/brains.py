"""Small skull-stripped cases with a tumor, as NIfTI files in the layout of BraTS 2018 to 2021."""

from pathlib import Path

import nibabel as nib
import numpy as np

from cggm.data.brats.cases import SEQUENCES, Case, find_cases

SHAPE = (24, 28, 14)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # x and y point the other way than in RAS+


def ball(center: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    grid = np.indices(SHAPE).reshape(3, *SHAPE)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)) <= 1


def write_case(root: Path, name: str, seed: int = 0, *, tumor: bool = True) -> None:
    """Write four sequences and a label; the tumor lies in slices 4 to 8 of the volume."""
    draws = np.random.default_rng(seed)
    brain = ball((12, 14, 6), (9, 11, 5))
    label = np.zeros(SHAPE, np.uint8)
    if tumor:
        label[ball((12, 16, 6), (5, 5, 2.5))] = 2
        label[ball((12, 16, 6), (3, 3, 1.5))] = 4
        label[ball((12, 16, 6), (1.5, 1.5, 0.5))] = 1
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for sequence in SEQUENCES:
        image = (draws.normal(500, 100, SHAPE).clip(1, 1000) * brain).astype(np.int16)
        nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}_{sequence}.nii.gz")
    nib.save(nib.Nifti1Image(label, AFFINE), folder / f"{name}_seg.nii.gz")


def brain_cases(root: Path, count: int = 2) -> list[Case]:
    """Write `count` cases called P0, P1, …; the last one has no tumor when there are three."""
    for number in range(count):
        write_case(root, f"P{number}", number, tumor=number < 2)
    return find_cases(root)
