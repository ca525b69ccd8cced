"""A synthetic patient as a hospital has one: skull, thick slices, a grid for each sequence."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from cggm.data.phantom.head import Head, rigid_motion, scanned

MOTIONS = {
    "t1ce": np.eye(4),
    "flair": rigid_motion((4, -3, 5), (6, -8, 4)),
    "t2": rigid_motion((-6, 4, 8), (14, 9, -11)),
}
# No simple fractions of the head's 3 mm on T1ce: half of a voxel would be met exactly, everywhere.
VOXELS = {"t1ce": (1.4, 1.9, 2.1), "flair": (2.0, 2.0, 5.0), "t2": (2.0, 2.0, 3.0)}


def grid_of(head: Head, voxel: tuple[float, float, float]) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of a scan of the whole frame of a head."""
    ratio = np.array(voxel) / np.linalg.norm(head.affine[:3, :3], axis=0)
    affine = head.affine.copy()
    affine[:3, :3] *= ratio
    return tuple(np.ceil(np.array(head.brain.shape) / ratio).astype(int)), affine


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def write_scans(folder: Path, head: Head, *sequences: str) -> None:
    """Write the scans of a patient in the names of BraTS 2021, and a brain mask on T1ce."""
    for name in sequences:
        shape, affine = grid_of(head, VOXELS[name])
        image = scanned(head.images[name], head.affine, shape, affine, MOTIONS[name])
        save(folder / f"{folder.name}_{name}.nii.gz", image.astype(np.int16), affine)
    shape, affine = grid_of(head, VOXELS["t1ce"])
    brain = scanned(head.brain, head.affine, shape, affine) > 0.5
    save(folder / f"{folder.name}_skullless.nii.gz", brain.astype(np.uint8), affine)


def labels_seen(head: Head, shape: tuple[int, ...], affine: np.ndarray, motion: np.ndarray):
    """The true labels on another grid: tumor fills half of a voxel, its largest part counts."""
    values = np.unique(head.labels[head.labels > 0])
    shares = [scanned(head.labels == v, head.affine, shape, affine, motion) for v in values]
    tumor = scanned(head.labels > 0, head.affine, shape, affine, motion) > 0.5
    return np.where(tumor, values[np.argmax(shares, axis=0)], 0).astype(np.uint8)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def points_of(head: Head) -> np.ndarray:
    """Points of the brain in RAS mm, (N, 3)."""
    return np.argwhere(head.brain)[::97] @ head.affine[:3, :3].T + head.affine[:3, 3]


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]
