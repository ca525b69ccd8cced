"""Dice per patient, over the whole volume as BraTS scores it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import Tensor

from ...data.brats.conventions import REGIONS
from ..balancing.distributed import summed_over_ranks
from .region_dice import region_counts


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
    as ``dice/WT``, ``dice/TC`` and ``dice/ET``. A case that several processes show counts once.

    Args:
        cases: names of the patients, the same on all ranks.
    """

    def __init__(self, cases: Sequence[str]) -> None:
        self._rows = {name: row for row, name in enumerate(cases)}
        super().__init__()

    def reset(self) -> None:
        """Forget all volumes."""
        self._counts = torch.zeros(len(self._rows), len(REGIONS), 3, dtype=torch.float64)

    def update(self, output: tuple[Tensor, Tensor, Sequence[str]]) -> None:
        """Add volumes, or parts of some.

        Args:
            output: predicted class numbers (B, subsets, X, Y, Z), of which the last are those of
                all sequences, true ones (B, 1, X, Y, Z), and B names.
        """
        prediction, label, names = output
        counts = region_counts(prediction[:, -1:].cpu(), label.cpu()).double()
        rows = torch.tensor([self._rows[name] for name in names])
        self._counts.index_add_(0, rows, counts)

    def iteration_completed(self, engine: Engine) -> None:
        """Take the volumes of the evaluator's last batch."""
        output = engine.state.output
        self.update((output["pred"], output["label"], engine.state.batch["case"]))  # type: ignore

    def completed(self, engine: Engine, name: str) -> None:
        """Put the mean and the regions' Dice into the evaluator's metrics."""
        super().completed(engine, name)
        means = self.per_case.mean(0).tolist()
        names = [f"dice/{region}" for region in REGIONS]
        engine.state.metrics.update(dict(zip(names, means, strict=True)))

    def compute(self) -> float:
        """Mean over patients and regions."""
        self.per_case = dice_of_counts(summed_over_ranks(self._counts.clone()))
        return self.per_case.mean().item()
