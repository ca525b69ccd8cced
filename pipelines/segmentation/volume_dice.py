"""Dice per patient, over the whole volume as BraTS scores it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import Tensor

from ...data.brats.conventions import REGIONS
from ..balancing.distributed import summed_over_ranks
from .outputs import told_regions
from .region_dice import region_counts
from .small_enhancing import choose_smallest_et


def dice_of_counts(counts: Tensor) -> Tensor:
    """Dice from counts; 1 where a region is empty in truth and prediction, the BraTS 2021 rule.

    Args:
        counts: voxels in both, predicted and true, shape (..., 3).

    Returns:
        Dice in [0, 1], shape (...).
    """
    overlap, predicted, true = counts.double().unbind(-1)
    size = predicted + true
    return torch.where(size == 0, 1.0, 2 * overlap / size.clamp(min=1))


class VolumeDice(Metric):
    """Mean over patients of the mean Dice of WT, TC and ET, each over the patient's whole volume.

    Attach it to a MONAI evaluator whose batches hold volumes and the name of each one's ``case``
    (with ``decollate=False``). The mean of each region is put into the evaluator's metrics too,
    as ``dice/WT``, ``dice/TC`` and ``dice/ET``, and as ``dice/RC``, which is not in the mean, for a
    network that tells it. A case that several processes show counts once.

    Args:
        cases: names of the patients, the same on all ranks.
        outputs: of the network.
    """

    def __init__(self, cases: Sequence[str], outputs: str = "classes") -> None:
        self.regions = told_regions(outputs)
        self._rows = {name: row for row, name in enumerate(cases)}
        self._smallest_et: float | None = None
        super().__init__()

    def reset(self) -> None:
        """Forget all volumes."""
        self._counts = torch.zeros(len(self._rows), len(self.regions), 3, dtype=torch.float64)
        self._shown = torch.zeros(len(self._rows), 2, dtype=torch.float64)  # how often; ml

    def update(self, output: tuple[Tensor, Tensor, Tensor, Sequence[str]]) -> None:
        """Add volumes, or parts of some.

        Args:
            output: predicted class numbers (B, subsets, X, Y, Z), of which the last are those of
                all sequences, true ones (B, 1, X, Y, Z), the volume of a voxel in milliliters
                (B,), and B names.
        """
        prediction, label, voxel_ml, names = output
        counts = region_counts(prediction[:, -1:].cpu(), label.cpu(), self.regions).double()
        rows = torch.tensor([self._rows[name] for name in names])
        self._counts.index_add_(0, rows, counts)
        voxel_ml = voxel_ml.double().cpu()
        self._shown.index_add_(0, rows, torch.stack([torch.ones_like(voxel_ml), voxel_ml], dim=1))

    def iteration_completed(self, engine: Engine) -> None:
        """Take the volumes of the evaluator's last batch."""
        output, batch = engine.state.output, engine.state.batch
        self.update((output["pred"], output["label"], batch["voxel_ml"], batch["case"]))  # type: ignore

    def completed(self, engine: Engine, name: str) -> None:
        """Put the mean and the regions' Dice into the evaluator's metrics."""
        super().completed(engine, name)
        means = self.per_case.mean(0).tolist()
        names = [f"dice/{region}" for region in self.regions]
        engine.state.metrics.update(dict(zip(names, means, strict=True)))

    def compute(self) -> float:
        """Mean over patients and WT, TC and ET."""
        counts, shown = (summed_over_ranks(kept.clone()) for kept in (self._counts, self._shown))
        times, voxel_ml = shown[:, 0].clamp(min=1), shown[:, 1] / shown[:, 0].clamp(min=1)
        enhancing = counts[:, REGIONS.index("ET")] / times[:, None]
        self._smallest_et = choose_smallest_et(enhancing, voxel_ml)
        self.per_case = dice_of_counts(counts)
        return self.per_case[:, : len(REGIONS)].mean().item()

    def smallest_et(self) -> float | None:
        """Size of ET in milliliters that the last predictions ask for; None before any."""
        return self._smallest_et
