"""Axial slices of a folder of patients in memory, small enough to train on within minutes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ....data import open_cases, open_store
from ....data.brats.cases import SEQUENCES
from ....data.brats.checks import plural, voxel_sizes
from ....data.brats.slices import read_slice
from ....data.brats.store import StoredCase
from ....data.errors import InputError
from ....data.patients import patient_of
from .samples import Samples, drawn

SIDE, PIXEL = 32, 3.0  # pixels, and mm of one
PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the tumor's volume, from its lowest slice to its highest
FEWEST, MOST = 10, 100  # patients
CLASSES = 4  # background, NCR, ED, ET


def load_patients(
    folder: str | Path,
    most: int | None = None,
    modalities: Sequence[str] | None = None,
    label_convention: str | None = None,
) -> Samples:
    """Read five slices of each patient's examination.

    Args:
        folder: cases with labels, see :func:`cggm.data.open_cases`; converted once into the cache.
        most: patients, by default 100; of more, so many are drawn.
        modalities: the sequences to read; all four when not given.
        label_convention: where file names do not tell it.

    Raises:
        InputError: the folder is none of patients, or too few have all sequences and a tumor.
    """
    names = tuple(modalities or SEQUENCES)
    if len(names) < 2:
        raise InputError(f"{', '.join(names)} is one sequence; there is nothing to balance")
    cases = open_cases(
        folder, sequences=names, label_convention=label_convention, allow_missing=True
    )
    complete = {case.name: case for case in cases if set(names) <= set(case.images)}
    patients = {name: patient_of(name) for name in complete}
    kept = drawn(list(complete), patients, most or MOST)
    stored = open_store([complete[name] for name in kept], sequences=names) if kept else None
    read = [stored.load(name) for name in kept] if stored else []
    whole = [case for case in read if case.tumor_slices.size]
    groups = tuple(patients[case.name] for case in whole for _ in PLACES)
    if len(set(groups)) < FEWEST:
        raise InputError(
            f"{folder} has {plural(len(set(groups)), 'patient')} with a tumor and all of "
            f"{', '.join(names)}; advice takes at least {FEWEST}"
        )
    crops = [_crop(case, place) for case in whole for place in PLACES]
    images = torch.stack([image for image, _ in crops])
    labels = torch.stack([label for _, label in crops])
    counts = {
        "without all sequences": len(cases) - len(complete),
        "more, to save time": len(complete) - len(kept),
        "without tumor": len(read) - len(whole),
    }
    return Samples(
        Path(folder).resolve().name,
        {name: images[:, number, None] for number, name in enumerate(names)},
        labels,
        groups,
        CLASSES,
        _digest(images, labels, groups),
        " and ".join(f"{plural(count, 'case')} {why}" for why, count in counts.items() if count),
    )


def _crop(case: StoredCase, place: float) -> tuple[Tensor, Tensor]:
    """Sequences (S, SIDE, SIDE) and classes (1, SIDE, SIDE) around the tumor, in one slice."""
    assert case.class_voxels is not None
    below = case.class_voxels.sum(1).cumsum()
    position = int(np.searchsorted(below, place * below[-1]))
    item = read_slice(case, position, range(len(case.sequences)))
    row, column = item["label"][0].nonzero().float().mean(0).round().int().tolist()
    rows, columns = (max(1, round(SIDE * PIXEL / mm)) for mm in voxel_sizes(case.affine)[:2])
    margin = (columns // 2, columns // 2, rows // 2, rows // 2)
    image, label = (
        pad(item[key], margin)[None, :, row : row + rows, column : column + columns].float()
        for key in ("image", "label")
    )
    small = interpolate(image, (SIDE, SIDE), mode="area")[0]
    return small, interpolate(label, (SIDE, SIDE), mode="nearest-exact")[0].long()


def _digest(images: Tensor, labels: Tensor, groups: Sequence[str]) -> str:
    told = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes())
    told.update("\n".join(groups).encode())
    return told.hexdigest()
