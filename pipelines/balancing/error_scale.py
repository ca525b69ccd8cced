"""The scale on which the errors of a regression are large or small: a running mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .distributed import summed_over_ranks
from .tasks import Task


class ErrorScale:
    """Running mean of the errors of a task whose losses have no scale of their own.

    Attributes:
        value: None before the first batch.
    """

    SMOOTHING = 0.9  # share of the old value

    def __init__(self) -> None:
        self.value: float | None = None

    def update(self, task: Task, predictions: Sequence[Tensor], label: Tensor) -> float:
        """Take in the errors of a batch, those of all ranks.

        Args:
            task: whose errors are meant.
            predictions: one or more, whose errors are averaged.
            label: the truth.

        Returns:
            The scale, above 0; 1 for a task that needs none.
        """
        errors = [task.errors(prediction, label) for prediction in predictions]
        present = [error for error in errors if error is not None]
        if not present:
            return 1.0
        mean = torch.stack(present).mean(0)
        count = torch.as_tensor(float(len(mean))).to(mean)
        total = summed_over_ranks(torch.stack([mean.sum(), count]).as_subclass(Tensor))
        now = float(total[0] / total[1])
        if math.isfinite(now):
            before = now if self.value is None else self.value
            self.value = self.SMOOTHING * before + (1 - self.SMOOTHING) * now
        # Errors that are all 0 have no scale; any will do.
        return 1.0 if self.value is None else max(self.value, 1e-12)
