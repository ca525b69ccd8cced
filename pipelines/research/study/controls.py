"""A control: factors made beforehand, which do not look at the modalities."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...balancing.method import Method, Run, Step
from ...balancing.optimization import StepFactors


class FixedFactors(Method):
    """Scale the encoders' updates by factors that were made before training.

    Args:
        table: a factor per step and modality, shape (steps, M); after its last row it starts anew.
    """

    changes = "encoders' updates, by factors made beforehand"
    modalities = (2, None)

    def __init__(self, table: Tensor) -> None:
        if table.ndim != 2 or len(table) == 0 or not (table >= 0).all():
            raise ValueError(
                f"table has shape {tuple(table.shape)}: it is (steps, M) with factors of 0 or more"
            )
        self.table = table
        self._taken = 0
        self._factors = StepFactors()

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        if self.table.shape[1] != len(run.modalities):
            raise ValueError(f"table is for {self.table.shape[1]} modalities, not {run.modalities}")

    def gradients(self, step: Step) -> None:
        row = self.table[self._taken % len(self.table)].tolist()
        self._taken += 1
        self._factors.apply(step.optimizer, step.encoders, row)

    def stepped(self, step: Step) -> None:
        self._factors.undo()

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._taken = state["taken"]
