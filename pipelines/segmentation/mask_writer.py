"""The writer of an inference run: a mask, a picture and a row of figures for each case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ...data.brats.cases import Case
from ...data.brats.conventions import REGIONS, region_masks
from ...data.brats.nifti import Volume, write_mask
from ...data.errors import InputError
from ...data.files import write_csv
from .case_dataset import ReadCase
from .overlays import draw_overlay
from .region_dice import region_counts
from .volume_dice import dice_of_counts


class MaskWriter:
    """Handler for an evaluator over :class:`.CaseDataset`: a mask, a picture, a row per case.

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
        convention = self.label_convention or case.mask_convention
        write_mask(mask, volume.native, self.folder / "masks" / f"{case.name}.nii.gz", convention)
        row = describe_mask(mask, volume.label, volume.voxel_ml)
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
                voxel_ml=volume.voxel_ml,
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
    volumes = region_volumes(mask, voxel_ml)
    row: dict[str, Any] = {f"{region}_ml": round(ml, 3) for region, ml in volumes.items()}
    if label is not None:
        truth = torch.from_numpy(np.ascontiguousarray(label))[None]
        dice = dice_of_counts(region_counts(torch.from_numpy(mask)[None], truth))[0]
        row |= {f"{r}_dice": round(100 * d, 2) for r, d in zip(REGIONS, dice.tolist(), strict=True)}
    return row


def region_volumes(mask: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Volume of WT, TC and ET in ml.

    Args:
        mask: classes 0 to 3, any shape.
        voxel_ml: volume of a voxel in milliliters.
    """
    return {region: float(part.sum() * voxel_ml) for region, part in region_masks(mask).items()}
