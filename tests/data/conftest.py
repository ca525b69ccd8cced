"""Small NIfTI cases on disk, in the published layouts."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ENDINGS = {
    "brats2018": {"flair": "_flair", "t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "label": "_seg"},
    "brats2023": {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "label": "-seg"},
}
LABEL_VALUES = {"brats2018": (0, 1, 2, 4), "brats2023": (0, 1, 2, 3)}
SHAPE = (8, 9, 10)


class NiftiCaseWriter:
    """Write images and whole cases; every image has its own voxels, the same in every run."""

    def image(self, seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
        """Random voxels, and a border of background."""
        x, y, z, *volumes = shape
        brain = np.random.default_rng(seed).integers(1, 1000, (x - 2, y - 2, z - 2, *volumes))
        return np.pad(brain, [(1, 1)] * 3 + [(0, 0)] * len(volumes)).astype(np.int16)

    def label(self, values: Sequence[int], shape: Sequence[int] = SHAPE) -> np.ndarray:
        return np.random.default_rng(99).choice(values, tuple(shape)).astype(np.uint8)

    def save(
        self,
        path: Path,
        array: np.ndarray,
        affine: np.ndarray | None = None,
        codes: tuple[int, int] = (1, 1),
    ) -> Path:
        """Save an array with sform and qform codes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.eye(4) if affine is None else affine
        image = nib.Nifti1Image(array, affine)
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])
        image.header.set_xyzt_units("mm", "sec")
        image.header["descrip"] = b"name of a patient"
        nib.save(image, path)
        return path

    def case(
        self,
        folder: Path,
        name: str = "P1",
        *,
        layout: str = "brats2018",
        affine: np.ndarray | None = None,
        suffix: str = ".nii.gz",
        without: Sequence[str] = (),
    ) -> dict[str, Path]:
        """Write one case into its own folder; return the file of each sequence and "label"."""
        files = {}
        for seed, (key, ending) in enumerate(ENDINGS[layout].items()):
            if key not in without:
                array = self.label(LABEL_VALUES[layout]) if key == "label" else self.image(seed)
                path = folder / name / f"{name}{ending}{suffix}"
                files[key] = self.save(path, array, affine)
        return files

    def msd(self, task: Path, name: str = "BRATS_001", volumes: int = 4) -> Path:
        """Write one case of the Medical Segmentation Decathlon; return its image file."""
        images = np.stack([self.image(seed) for seed in range(volumes)], axis=-1)
        self.save(task / "labelsTr" / f"{name}.nii.gz", self.label((0, 1, 2, 3)))
        return self.save(task / "imagesTr" / f"{name}.nii.gz", images)


def load_nifti(path: Path) -> nib.Nifti1Image:
    """Read a file with nibabel alone."""
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image


def edit_nifti_header(path: Path, **fields: object) -> None:
    """Overwrite fields of the header of a `.nii.gz` file, whatever sense they make."""
    content = gzip.decompress(path.read_bytes())
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + content[348:]))


@pytest.fixture
def nifti_cases() -> NiftiCaseWriter:
    """A writer of small NIfTI cases."""
    return NiftiCaseWriter()
