"""A small output folder of `cggm segment`, to be read by pages: an ellipsoid brain with a tumor."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE, SPACING = (40, 48, 36), (4.0, 4.0, 4.0)
PLACE = (12, 30, 20)  # the tumor's middle: the patient's left, front


def volumes() -> tuple[np.ndarray, np.ndarray]:
    """Gray values of a brain in [0, 255], and classes of a tumor with a rim."""
    x, y, z = np.indices(SHAPE)
    middle = (np.array(SHAPE) - 1) / 2
    brain = sum(((a - m) / (0.92 * m)) ** 2 for a, m in zip((x, y, z), middle, strict=True)) < 1
    noise = np.random.default_rng(0).integers(-20, 20, SHAPE)
    image = np.where(brain, np.clip(110 + noise, 1, 255), 0).astype(np.uint8)
    distance = np.sqrt(sum((a - m) ** 2 for a, m in zip((x, y, z), PLACE, strict=True)))
    mask = np.select([distance < 2.5, distance < 4, distance < 7], [1, 3, 2], 0).astype(np.uint8)
    return image, mask


def busiest(inside: np.ndarray) -> list[int]:
    """The slice along each axis with most of a region; the first of several."""
    areas = [[part.sum() for part in np.moveaxis(inside, axis, 0)] for axis in range(3)]
    return [area.index(max(area)) for area in areas]


def write_case(
    out: Path, name: str, sequences: tuple[str, ...] = ("flair", "t1ce"), **changes: Any
) -> Path:
    """Write the folder of a case as `cggm segment` does, its page aside.

    Args:
        out: the output folder.
        name: of the case.
        sequences: those it has.
        changes: entries of the record.
    """
    image, mask = volumes()
    affine = np.diag((*SPACING, 1.0))
    affine[:3, 3] = (-70, -90, -60)
    folder = out / name
    (folder / "view").mkdir(parents=True)
    for number, sequence in enumerate(sequences):
        shown = np.where(image > 0, np.clip(image + 30 * number + 20 * mask, 1, 255), 0)
        save(folder / "view" / f"{sequence}.nii.gz", shown.astype(np.uint8), affine)
    save(folder / "view" / "mask.nii.gz", mask, affine)
    (folder / f"{name}.json").write_text(json.dumps(record(name, sequences, **changes)))
    return folder


def save(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(volume, affine), path)


def record(name: str, sequences: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """The record of a case, all entries of the contract."""
    told = "t1ce" in sequences
    return {
        "format": 1,
        "case": name,
        "subject": name,
        "date": None,
        "sequences": list(sequences),
        "prepared": False,
        "volumes_ml": {"WT": 91.7, "TC": 16.4, "ET": 12.3 if told else None},
        "expected_dice": {"WT": 91.0, "TC": 80.5, "ET": 75.2 if told else None},
        "expected": f"Dice of {'+'.join(sequences)} in 12 test cases: WT 91.0, TC 80.5",
        "untold": {} if told else {"ET": "ET cannot be told without t1ce"},
        "remarks": [],
        "findings": [],
        "confidence": {"WT": 0.93, "TC": 0.81, "ET": 0.7 if told else None},
        "label_convention": "brats2021",
        "mask": f"{name}_mask.nii.gz",
        "native_masks": {},
        "inputs": {s: {"file": f"{s}.nii.gz", "sha256": "ab" * 32} for s in sequences},
        "model": {
            "sha256": ["cd" * 32],
            "settings": {
                "architecture": "segresnet",
                "sequences": ["flair", "t1", "t1ce", "t2"],
                "modality_dropout": {"flair": 0.5},
            },
        },
        "settings": {},
        "versions": {"cggm": "0.1.0", "torch": "2.14.1", "monai": "1.6.1"},
        "finished": "2026-11-29T12:00:00+00:00",
        "seconds": {"prepare": None, "read": 1.2, "network": 9.5, "write": 0.8},
        **changes,
    }


def finding(severity: str, code: str = "slab", **changes: Any) -> dict[str, Any]:
    """An entry of `findings`."""
    return {
        "code": code,
        "severity": severity,
        "sequence": "flair",
        "sentence": "flair has slices of 5 mm.",
        "remedy": "Use a 3D sequence where there is one.",
        **changes,
    }
