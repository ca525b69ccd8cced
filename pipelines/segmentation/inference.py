"""From a folder of cases to a mask and a picture for each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.utils.data import Dataset

from ...data.brats.cases import Case
from ...data.brats.conventions import REGIONS, region_masks
from ...data.brats.nifti import Volume, read_case, write_mask
from ...data.brats.normalization import brain_box, normalize
from ...data.errors import InputError
from ...data.files import write_csv
from .overlays import draw_overlay
from .region_dice import region_counts
from .volume_dice import dice_of_counts

Box = tuple[slice, slice, slice]

# What a mask's values mean when the user does not choose; the layout proves it or leaves one way.
LAYOUT_CONVENTIONS = {"brats2018": "brats2021", "brats2023": "brats2023", "msd": "msd"}


@dataclass
class ReadCase:
    """A case on its way through the network."""

    case: Case
    volume: Volume | None = None
    box: Box | None = None
    error: str | None = None


class CaseDataset(Dataset):
    """Whole cases, normalized and cropped to the brain as in training.

    An item holds ``image`` (1, S, X, Y, Z), zeros for a sequence that is absent, ``present``
    (1, S) and ``read``, the :class:`ReadCase`. A case that cannot be read gives an empty image and
    the reason in ``read.error``, so that the others are still segmented.

    Args:
        data: cases from :func:`cggm.data.find_cases`.
        sequences: the network's, in its order.
    """

    def __init__(self, data: Sequence[Case], sequences: Sequence[str]) -> None:
        self.data = list(data)
        self.sequences = list(sequences)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.data[index]
        present = torch.tensor([[name in case.images for name in self.sequences]])
        try:
            volume = self._read(case)
            box = brain_box(volume.images)
            cropped = {name: image[box] for name, image in volume.images.items()}
            normalized = normalize(cropped, list(cropped))
        except InputError as error:
            empty = torch.zeros(1, len(self.sequences), 1, 1, 1)
            return {"image": empty, "present": present, "read": ReadCase(case, error=str(error))}
        image = torch.zeros(1, len(self.sequences), *next(iter(normalized.values())).shape)
        for i, name in enumerate(self.sequences):
            if name in normalized:
                image[0, i] = torch.from_numpy(np.ascontiguousarray(normalized[name]))
        return {"image": image, "present": present, "read": ReadCase(case, volume, box)}

    def _read(self, case: Case) -> Volume:
        try:
            return read_case(case, self.sequences)
        except InputError as error:
            if case.label is None:
                raise
            # The label is only there to be compared with; fails again if the images are at fault.
            volume = read_case(replace(case, label=None), self.sequences)
            print(f"the label is not compared: {error}", file=sys.stderr, flush=True)
            return volume


def one_case(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Collate function for a loader with a batch size of one: cases differ in size."""
    return items[0]


class SliceBatchInferer(Inferer):
    """Segment volumes with a network for slices: batches of slices, and none that are empty.

    Args:
        batch_size: slices per forward pass.
    """

    def __init__(self, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.batch_size = batch_size

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args: Any, present: Tensor | None = None
    ) -> Tensor:
        """Return class numbers, uint8 of shape (B, 1, X, Y, Z); 0 where a slice is empty.

        Args:
            inputs: normalized volumes, zeros outside the brain, shape (B, S, X, Y, Z).
            network: takes (slices, S, X, Y), and ``present`` when it is given.
            args: further positional arguments of the network.
            present: which sequences exist, shape (B, S).
        """
        classes = [
            self._segment(volume, network, args, None if present is None else present[i])
            for i, volume in enumerate(inputs)
        ]
        return torch.stack(classes)[:, None]

    def _segment(
        self, volume: Tensor, network: nn.Module, args: tuple[Any, ...], present: Tensor | None
    ) -> Tensor:
        slices = volume.movedim(-1, 0)
        filled = torch.nonzero(slices.flatten(1).any(1))[:, 0]
        classes = torch.zeros(len(slices), *volume.shape[1:3], dtype=torch.uint8)
        # Saying that all are there costs nothing to leave out, and any network takes the call.
        extra = {} if present is None or bool(present.all()) else {"present": present}
        for start in range(0, len(filled), self.batch_size):  # none for an empty volume
            chosen = filled[start : start + self.batch_size]
            logits = network(slices[chosen].contiguous(), *args, **extra)
            classes[chosen.cpu()] = logits.argmax(1).to("cpu", torch.uint8)
        return classes.movedim(0, -1)


class MaskWriter:
    """Handler for an evaluator over :class:`CaseDataset`: a mask, a picture, a row per case.

    Masks lie exactly on the input files (axes, shape, affine, codes) and in their label
    convention. ``volumes.csv`` lists the sequences used, the volume of each class in ml and, where
    a label came with the case, its Dice in percent.

    Args:
        folder: gets ``masks/<case>.nii.gz``, ``overlays/<case>.png`` and ``volumes.csv``.
        label_convention: of the masks; that of the case's layout when not given.
        overlays: draw the pictures.

    Raises:
        InputError: at the end, when cases could not be segmented; it names them all.
    """

    def __init__(
        self, folder: str, *, label_convention: str | None = None, overlays: bool = True
    ) -> None:
        self.folder = Path(folder)
        self.label_convention = label_convention
        self.overlays = overlays
        self.rows: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._take)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _take(self, engine: Engine) -> None:
        read: ReadCase = engine.state.batch["read"]  # type: ignore[index]
        if read.error is not None or read.volume is None or read.box is None:
            self.failures.append(str(read.error))
            return
        mask = np.zeros_like(next(iter(read.volume.images.values())), np.uint8)
        mask[read.box] = engine.state.output["pred"][0, 0].numpy()  # type: ignore[index]
        self._write(read.case, read.volume, mask)

    def _write(self, case: Case, volume: Volume, mask: np.ndarray) -> None:
        convention = self.label_convention or case.convention or LAYOUT_CONVENTIONS[case.layout]
        write_mask(mask, volume.native, self.folder / "masks" / f"{case.name}.nii.gz", convention)
        voxel_ml = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
        row = describe_mask(mask, volume.label, voxel_ml)
        self.rows.append({"case": case.name, "sequences": " ".join(volume.images), **row})
        figures = "  ".join(f"{region} {row[f'{region}_ml']:.1f} ml" for region in REGIONS)
        print(f"{case.name}  {figures}", flush=True)
        if self.overlays:
            draw_overlay(
                self.folder / "overlays" / f"{case.name}.png",
                volume.images,
                mask,
                volume.label,
                title=f"{case.name} (research use only)",
                voxel_ml=voxel_ml,
            )

    def _finish(self, _: Engine) -> None:
        if self.rows:
            write_csv(self.folder / "volumes.csv", self.rows)
            print(f"{len(self.rows)} masks in {self.folder / 'masks'}", flush=True)
        if self.failures:
            total = len(self.rows) + len(self.failures)
            raise InputError(
                f"{len(self.failures)} of {total} cases could not be segmented:\n  "
                + "\n  ".join(self.failures)
            )


def describe_mask(mask: np.ndarray, label: np.ndarray | None, voxel_ml: float) -> dict[str, Any]:
    """Volume of each region in ml and, with a label, the Dice of each in percent.

    Args:
        mask: classes 0 to 3, shape (X, Y, Z).
        label: likewise, or None.
        voxel_ml: volume of a voxel in milliliters.
    """
    masks = region_masks(mask)
    row: dict[str, Any] = {f"{r}_ml": round(float(m.sum() * voxel_ml), 3) for r, m in masks.items()}
    if label is not None:
        truth = torch.from_numpy(np.ascontiguousarray(label))[None]
        dice = dice_of_counts(region_counts(torch.from_numpy(mask)[None], truth))[0]
        row |= {f"{r}_dice": round(100 * d, 2) for r, d in zip(REGIONS, dice.tolist(), strict=True)}
    return row
