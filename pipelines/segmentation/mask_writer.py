"""The writer of an inference run: a mask, a picture and a row of figures for each case."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ...data.brats.cases import Case
from ...data.brats.checks import plural, voxel_sizes
from ...data.brats.conventions import REGIONS, region_volumes
from ...data.brats.nifti import Volume, write_mask
from ...data.errors import InputError
from ...data.files import write_csv
from ..balancing.modality_dropout import subset_warning
from ..handlers.checkpoint_file import Weights, description_of
from .case_dataset import ReadCase
from .outputs import mask_convention, told_regions
from .overlays import draw_overlay
from .region_dice import region_counts
from .reliability import (
    GRID,
    expected_dice,
    joined,
    other_voxels,
    removed_remark,
    subset_table,
    untold_regions,
)
from .slice_inference import SliceBatchInferer
from .small_enhancing import small_et_remark
from .volume_dice import dice_of_counts


class MaskWriter:
    """Handler for an evaluator over :class:`.CaseDataset`: a mask, a picture, a row per case.

    Masks lie exactly on the input files (axes, shape, affine, codes) and in their label
    convention. ``volumes.csv`` lists the sequences used, the volume of each region in ml and, where
    a label came with the case, its Dice in percent. A region that cannot be told from these
    sequences is empty; ``remark`` says why, and what else speaks against a row; ``expected`` says
    what Dice this subset of sequences had when the weights were evaluated.

    Args:
        folder: gets ``masks/<case>.nii.gz``, ``overlays/<case>.png`` and ``volumes.csv``.
        label_convention: of the masks; that of the case's layout when not given, or one with a
            value for the resection cavity where the network tells it.
        overlays: draw the pictures.
        weights: of the network or of several; beside them lies what they were trained on and what
            they are worth.
        inferer: what segments, to tell how much it removed outside the brain.
        outputs: of the network.

    Raises:
        InputError: the convention has no value for a class of the network; at the end, when cases
            could not be segmented, all of them named.
    """

    def __init__(
        self,
        folder: str,
        *,
        label_convention: str | None = None,
        overlays: bool = True,
        weights: Weights | None = None,
        inferer: SliceBatchInferer | None = None,
        outputs: str = "classes",
    ) -> None:
        self.folder = Path(folder)
        self.outputs, self.regions = outputs, told_regions(outputs)
        if label_convention is not None:
            mask_convention(outputs, label_convention, label_convention)
        self.label_convention = label_convention
        self.overlays = overlays
        self.inferer = inferer
        self.table = {} if weights is None else subset_table(weights)
        self.trained = {} if weights is None else description_of(weights)
        self._said: set[str] = set()
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
        output: dict[str, Any] = engine.state.output  # type: ignore[assignment]
        mask[read.box] = output["pred"][0, 0].numpy()
        self._small_et = float(output.get("small_et_ml", 0))
        self._write(read.case, read.volume, mask)

    def _write(self, case: Case, volume: Volume, mask: np.ndarray) -> None:
        convention = mask_convention(self.outputs, self.label_convention, case.mask_convention)
        write_mask(mask, volume.native, self.folder / "masks" / f"{case.name}.nii.gz", convention)
        untold = untold_regions(volume.images)
        compared = self.regions if case.cavity else REGIONS
        row = describe_mask(
            mask, volume.label, volume.voxel_ml, untold, regions=self.regions, compared=compared
        )
        sequences = joined(volume.images)
        row |= {"expected": expected_dice(self.table, list(volume.images))}
        never_seen = subset_warning(self.trained, list(volume.images))
        of_subset = [*untold.values(), *([] if never_seen is None else [never_seen])]
        row |= {"remark": "; ".join([*of_subset, *self._remarks(case, volume)])}
        self.rows.append({"case": case.name, "sequences": sequences, **row})
        self._say_once(f"{sequences}: {'; '.join([row['expected'], *of_subset[len(untold) :]])}")
        figures = "  ".join(_volume(region, row[f"{region}_ml"]) for region in self.regions)
        print(f"{case.name}  {figures}", flush=True)
        if self.overlays:
            draw_overlay(
                self.folder / "overlays" / f"{case.name}.png",
                volume.images,
                mask,
                volume.label,
                title=f"{case.name} (research use only)",
                voxel_ml=volume.voxel_ml,
                untold=untold,
                regions=self.regions,
                note="\n".join([f"{sequences}: {row['expected']}", *of_subset[len(untold) :]]),
            )

    def _remarks(self, case: Case, volume: Volume) -> list[str]:
        """What speaks against the figures of a case, apart from its sequences."""
        remarks = []
        voxels = other_voxels(self.trained.get(GRID) or {}, list(voxel_sizes(volume.affine)))
        if voxels is not None:
            remarks.append(voxels)
            print(f"warning: {case.name}: {voxels}", file=sys.stderr, flush=True)
        removed = sum(self.inferer.removed) if self.inferer is not None else 0
        if removed:
            remarks.append(removed_remark(removed))
        if self._small_et:
            remarks.append(small_et_remark(self._small_et))
        return remarks

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            print(line, flush=True)

    def _finish(self, _: Engine) -> None:
        if self.rows:
            write_csv(self.folder / "volumes.csv", self.rows)
            print(f"{plural(len(self.rows), 'mask')} in {self.folder / 'masks'}", flush=True)
        if self.failures:
            total = len(self.rows) + len(self.failures)
            raise InputError(
                f"{len(self.failures)} of {plural(total, 'case')} could not be segmented:\n  "
                + "\n  ".join(self.failures)
            )


def describe_mask(
    mask: np.ndarray,
    label: np.ndarray | None,
    voxel_ml: float,
    untold: Collection[str] = (),
    *,
    regions: Sequence[str] = REGIONS,
    compared: Sequence[str] = REGIONS,
) -> dict[str, Any]:
    """Volume of each region in ml and, with a label, the Dice of each in percent.

    Args:
        mask: classes 0 to 4, shape (X, Y, Z).
        label: likewise, or None.
        voxel_ml: volume of a voxel in milliliters.
        untold: regions that cannot be told; theirs are empty.
        regions: those that the network tells.
        compared: those of them that the label tells.
    """
    volumes = region_volumes(mask, voxel_ml, regions)
    row: dict[str, Any] = {f"{region}_ml": round(ml, 3) for region, ml in volumes.items()}
    if label is not None:
        truth = torch.from_numpy(np.ascontiguousarray(label))[None]
        counts = region_counts(torch.from_numpy(mask)[None], truth, compared)
        dice = dict(zip(compared, dice_of_counts(counts)[0].tolist(), strict=True))
        row |= {f"{region}_dice": round(100 * value, 2) for region, value in dice.items()}
    return {key: "" if key.partition("_")[0] in untold else value for key, value in row.items()}


def _volume(region: str, ml: float | str) -> str:
    return f"{region} –" if isinstance(ml, str) else f"{region} {ml:.1f} ml"
