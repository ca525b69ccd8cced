"""Folders as `cggm segment` leaves them, made of arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cggm.data.brats.conventions import ALL_REGIONS, REGIONS, label_convention_named, region_mask


def write_visit(
    output: Path,
    case: str,
    *,
    classes: np.ndarray,
    images: Mapping[str, np.ndarray],
    affine: np.ndarray,
    **record: Any,
) -> None:
    """Write a finished case; what is given by name replaces that entry of its record.

    Args:
        output: the folder of all cases.
        case: its name.
        classes: 0 to 3, (X, Y, Z); or to 4, the cavity, in a record of ``brats2024``.
        images: intensities by sequence on the same grid, 0 outside the brain.
        affine: voxel to RAS mm.
        record: entries, such as ``date``.
    """
    folder = output / case
    (folder / "view").mkdir(parents=True)
    convention = record.get("label_convention", "brats2021")
    labels = label_convention_named(convention).from_classes(classes)
    nib.save(nib.Nifti1Image(labels, affine), folder / f"{case}_mask.nii.gz")
    for name, image in images.items():
        shown = np.where(image > 0, np.clip(255 * (image / image.max()), 1, 255), 0)
        view = nib.as_closest_canonical(nib.Nifti1Image(shown.astype(np.uint8), affine))
        nib.save(view, folder / "view" / f"{name}.nii.gz")
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    untold = {} if "t1ce" in images else {"ET": "ET cannot be told without t1ce"}
    regions = ALL_REGIONS if convention == "brats2024" else REGIONS
    volumes = {
        r: None if r in untold else region_mask(classes, r).sum() * voxel_ml for r in regions
    }
    content = {
        "format": 1,
        "case": case,
        "subject": "P01",
        "date": None,
        "sequences": list(images),
        "volumes_ml": dict.fromkeys(untold) | volumes,
        "untold": untold,
        "label_convention": "brats2021",
        "mask": f"{case}_mask.nii.gz",
        "model": {"sha256": ["ab"]},
        **record,
    }
    (folder / f"{case}.json").write_text(json.dumps(content))
