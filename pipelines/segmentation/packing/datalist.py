"""What a packed bundle segments: 4D files of a folder, or the cases in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....data.brats.cases import Case, find_cases
from ....data.errors import InputError


def images_to_segment(
    dataset_dir: str | Path | None, sequences: Sequence[str]
) -> list[dict[str, Any]]:
    """List the images of a folder for MONAI's ``LoadImaged``.

    Args:
        dataset_dir: a folder with one 4D file per patient, ``.nii`` or ``.nii.gz``; or a folder of
            cases, each in a folder of its own, in one of the layouts that ``cggm check`` knows.
        sequences: the network's; cases have all of them.

    Returns:
        Per patient ``{"image": path}``, or a list of paths in the order of the sequences.

    Raises:
        InputError: no folder is given, or it holds neither.
    """
    if dataset_dir is None:
        raise InputError(
            "dataset_dir is not given: pass --dataset_dir, a folder of 4D NIfTI files with "
            f"{', '.join(sequences)}, or of cases in a BraTS layout"
        )
    files = sorted(f for f in Path(dataset_dir).glob("*.nii*") if f.is_file())
    if files:
        return [{"image": str(file)} for file in files]
    cases = find_cases(dataset_dir, sequences=sequences, labels="ignored")
    return [{"image": _files(case, sequences)} for case in cases]


def _files(case: Case, sequences: Sequence[str]) -> str | list[str]:
    """The file of all sequences, or the file of each."""
    sources = [case.images[name] for name in sequences]
    paths = [str(source.path) for source in sources]
    if [source.channel for source in sources] == [*range(len(sources))]:
        return paths[0]
    if any(source.channel is not None for source in sources):
        raise InputError(
            f"{paths[0]} has volumes that the network does not, or in another order: segment it "
            "with cggm infer brats --ckpt_path models/model.pt"
        )
    return paths
