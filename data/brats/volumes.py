"""Whole converted cases: what a network is validated and evaluated on."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .checks import voxel_sizes
from .slices import channels_of, presence
from .store import SliceStore

SHAPE_PERCENTILES = (1, 5, 50, 95, 99)
SPARSE = 4  # every fourth slice tells the histogram


class VolumeDataset(Dataset[dict[str, Any]]):
    """Converted cases as a network for inference takes them, one case an item.

    Args:
        store: where the slices lie.
        data: names of the cases to show.
        sequences: names of the sequences, channels of "image" in this order.

    Raises:
        InputError: a case or sequence is not in the store, or a case has no label.
    """

    def __init__(self, store: SliceStore, data: Sequence[str], sequences: Sequence[str]) -> None:
        self.cases = [store.load(name) for name in data]
        self.sequences = list(sequences)
        self._channels = [channels_of(case, sequences) for case in self.cases]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one case.

        Returns:
            "image": float32 z-scores, 0 outside the brain, shape (S, X, Y, Z); "present": which
            sequences the case has, bool (S,), the others being zeros; "label": uint8 classes 0 to
            3, shape (1, X, Y, Z); "case": its name; "voxel_mm": sizes of a voxel along RAS+ axes,
            float64 of shape (3,); "voxel_ml": its volume in milliliters.
        """
        case, channels = self.cases[index], self._channels[index]
        label = case.label
        assert label is not None, "channels_of refuses cases without a label"
        image = case.images[:, channels].transpose(1, 2, 3, 0).astype(np.float32, order="C")
        return {
            "image": torch.from_numpy(image),
            "label": torch.from_numpy(np.ascontiguousarray(label.transpose(1, 2, 0)))[None],
            "present": presence(case, self.sequences),
            "case": case.name,
            "voxel_mm": torch.from_numpy(voxel_sizes(case.affine)),
            "voxel_ml": abs(float(np.linalg.det(case.affine[:3, :3]))) / 1000,
        }


def describe_grid(store: SliceStore, names: Sequence[str]) -> dict[str, Any]:
    """Say what voxels, slices and intensities of some cases are like, to be kept with a network.

    Returns:
        Medians over the cases: "voxel_mm", sizes of a voxel along RAS+ axes, and "brain_pixels",
        height and width of the box of the brain in an axial slice; "intensities" by sequence, see
        :func:`intensity_ranges`.
    """
    cases = [store.load(name) for name in names]
    voxels = np.median([voxel_sizes(case.affine) for case in cases], axis=0)
    boxes = [[side.stop - side.start for side in case.box[:2]] for case in cases]
    return {
        "voxel_mm": [round(float(size), 4) for size in voxels],
        "brain_pixels": [float(side) for side in np.median(boxes, axis=0)],
        "intensities": intensity_ranges(
            (name, case.images[::SPARSE, channel])
            for case in cases
            for channel, name in enumerate(case.sequences)
            if name in case.present
        ),
    }


def intensity_shape(values: np.ndarray) -> list[float]:
    """Percentiles (`SHAPE_PERCENTILES`) of the z-scores of an image's values in the brain."""
    values = values.astype(np.float32)
    low_to_high = np.percentile(values, SHAPE_PERCENTILES)
    return [float(p) for p in (low_to_high - values.mean()) / max(float(values.std()), 1e-12)]


def intensity_ranges(images: Iterable[tuple[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Say between what ends the histograms of some images lie.

    Args:
        images: sequence and intensities, 0 outside the brain, any shape.

    Returns:
        By sequence: number of "cases", "low" and "high" of each of `SHAPE_PERCENTILES`.
    """
    shapes: dict[str, list[list[float]]] = {}
    for name, image in images:
        if (values := image[image != 0]).size:
            shapes.setdefault(name, []).append(intensity_shape(values))
    return {
        name: {
            "cases": len(rows),
            "low": np.min(rows, axis=0).round(4).tolist(),
            "high": np.max(rows, axis=0).round(4).tolist(),
        }
        for name, rows in shapes.items()
    }
