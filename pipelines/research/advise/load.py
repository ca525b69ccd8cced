"""Samples of a folder, whatever it holds: features or patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....data.brats.case_files import holds_nifti
from .feature_sets import load_features
from .patients import load_patients
from .samples import Samples


def load(
    folder: str | Path,
    *,
    most: int | None = None,
    modalities: Sequence[str] | None = None,
    label_convention: str | None = None,
) -> Samples:
    """Read a feature set, or patients where there are NIfTI files.

    Args:
        folder: either.
        most: samples of a feature set, or patients.
        modalities: the ones to read; all when not given.
        label_convention: of patients, where file names do not tell it.

    Raises:
        InputError: it is neither, or holds too little.
    """
    if Path(folder).is_dir() and holds_nifti(Path(folder)):
        return load_patients(folder, most, modalities, label_convention)
    return load_features(folder, most, modalities)
