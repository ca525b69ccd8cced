"""Trials: copies of network, classifiers and optimizer that are trained and thrown away."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .batches import batches_of, observed, training_data
from .features import masked
from .held_out import held_out_ids, sample_ids
from .method import Run
from .tasks import scores_of


def parted(run: Run, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the training data to train on, and of a held-out share; by id where there are ids.

    Args:
        run: the training.
        share: of the different ids, or of the samples where there are none.
        seed: of the draw.
    """
    ids, count = sample_ids(run), len(training_data(run))
    # A list of batches, or nothing to tell samples apart by.
    if len(ids) != count or not all(ids) or len(set(ids)) < 2:
        ids = [str(number) for number in range(count)]
    judges = held_out_ids(ids, share, seed)
    return (
        [i for i, name in enumerate(ids) if name not in judges],
        [i for i, name in enumerate(ids) if name in judges],
    )


class Trial:
    """A copy of network, classifiers and optimizer that may be trained and thrown away."""

    def __init__(self, run: Run) -> None:
        # Copied together, so that the optimizer's copy holds the parameters of the others'.
        parts = (run.network, dict(run.encoders), dict(run.classifiers), run.optimizer)
        self.network, self.encoders, self.classifiers, self.optimizer = copy.deepcopy(parts)
        self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            if run.epoch <= 1:
                group["lr"] = group.get("initial_lr", group["lr"])
        self.run = run

    def train(self, indices: Sequence[int], epochs: int, seed: int, *, joint: bool) -> None:
        """Train the network on the task loss, or each encoder with its classifier."""
        order = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for batch in batches_of(self.run, indices, order):
                self._set_mode(training=True)
                self.optimizer.zero_grad()
                losses, _ = self._losses(batch, network=joint, classifiers=not joint)
                torch.stack(losses).sum().backward()
                self.optimizer.step()

    @torch.no_grad()
    def losses(self, parts: Sequence[Sequence[int]]) -> Tensor:
        """Mean losses of the classifiers, then of the network, on each part: (M + 1, parts)."""
        self._set_mode(training=False)
        columns = []
        for indices in parts:
            sums, count = torch.zeros(len(self.encoders) + 1, dtype=torch.float64), 0
            for batch in batches_of(self.run, indices):
                losses, size = self._losses(batch, network=True, classifiers=True)
                sums += size * torch.stack(losses).double().cpu()
                count += size
            columns.append(sums / max(count, 1))
        return torch.stack(columns, dim=1)

    def _set_mode(self, *, training: bool) -> None:
        for module in (self.network, *self.classifiers.values()):
            module.train(training)

    @torch.no_grad()
    def scores(self, indices: Sequence[int]) -> Tensor:
        """Mean score of each classifier, the task's, shape (M,)."""
        self._set_mode(training=False)
        sums, count = torch.zeros(len(self.encoders), dtype=torch.float64), 0
        for batch in batches_of(self.run, indices):
            outputs, label = self._outputs(batch, network=False, classifiers=True)
            rows = [scores_of(self.run.task, output, label).double().sum() for output in outputs]
            sums, count = sums + torch.stack(rows).cpu(), count + len(label)
        return sums / max(count, 1)

    def _losses(self, batch: Any, *, network: bool, classifiers: bool) -> tuple[list[Tensor], int]:
        """Losses of the classifiers, of the network, or of both, and the number of samples."""
        outputs, label = self._outputs(batch, network=network, classifiers=classifiers)
        return [self.run.task.loss(output, label).mean() for output in outputs], len(label)

    def _outputs(
        self, batch: Any, *, network: bool, classifiers: bool
    ) -> tuple[list[Tensor], Tensor]:
        """What the classifiers predict, the network, or both, and the truth."""
        features, prediction, label = observed(
            self.run, batch, self.network, self.encoders, fuse=network
        )
        # Of a modality that no sample of the batch has, a network may encode nothing.
        nothing = torch.zeros(len(label), dtype=torch.bool)
        absent = masked(next(iter(features.values())), nothing)
        outputs = [
            c(features.get(name, absent)) for name, c in self.classifiers.items() if classifiers
        ]
        return outputs + ([] if prediction is None else [prediction]), label
