"""Predictions of each sample, collected over all batches and all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist
from torch import Tensor

from ...data.errors import InputError
from ..balancing.distributed import is_distributed

_Row = tuple[np.ndarray, float]


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the samples' ids.

    Attributes:
        ids: N names.
        outputs: probabilities of the classes, shape (N, C), or values, shape (N,).
        labels: class numbers or values, shape (N,); NaN where there is none.
    """

    ids: list[str]
    outputs: np.ndarray
    labels: np.ndarray


class Collector:
    """Predictions as they come, batch by batch; a sample that comes again is kept once.

    Args:
        task: "classification" or "regression".
    """

    def __init__(self, task: str) -> None:
        if task not in ("classification", "regression"):
            raise ValueError(f"task is {task!r}; it is one of ['classification', 'regression']")
        self.task = task
        self._rows: dict[str, _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()

    def add(self, prediction: Tensor, label: Tensor | None, ids: Sequence[str]) -> None:
        """Take a batch.

        Args:
            prediction: logits, shape (B, C), or values, shape (B, 1).
            label: class numbers, shape (B,), values, shape (B, 1), or None.
            ids: B names.
        """
        outputs = prediction.detach().float()
        outputs = outputs.softmax(1) if self.task == "classification" else outputs[:, 0]
        array = outputs.cpu().numpy().astype(np.float64)
        labels = [np.nan] * len(ids) if label is None else label.detach().flatten().tolist()
        for name, output, true in zip(ids, array, labels, strict=True):
            self._rows.setdefault(name, (output, true))

    def predictions(self) -> Predictions:
        """Give the predictions of all processes, to each of them."""
        rows = _of_all_ranks(self._rows)
        ids = sorted(rows)
        outputs = np.array([rows[name][0] for name in ids])
        labels = np.array([rows[name][1] for name in ids])
        if self.task == "classification":
            outputs = outputs.reshape(len(ids), -1) if ids else np.zeros((0, 1))
            labels = labels if np.isnan(labels).any() else labels.astype(np.int64)
        return Predictions(ids, outputs, labels)


def check_finite(predictions: Predictions) -> None:
    """Refuse predictions that say nothing.

    Raises:
        InputError: some are NaN or infinite; it names the samples.
    """
    pairs = zip(predictions.ids, predictions.outputs, strict=True)
    bad = [name for name, output in pairs if not np.isfinite(output).all()]
    if bad:
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise InputError(
            f"the network's prediction is NaN or infinite for {len(bad)} of "
            f"{len(predictions.ids)} samples ({', '.join(bad[:10])}{more}): look for extreme "
            "values in their features, or run without mixed precision (--amp False)"
        )


def _of_all_ranks(rows: dict[str, _Row]) -> dict[str, _Row]:
    if not is_distributed():
        return rows
    found: list[dict[str, _Row]] = [{}] * dist.get_world_size()
    dist.all_gather_object(found, rows)
    # The first rank's copy of a sample counts, so that all ranks agree.
    return {name: row for part in reversed(found) for name, row in part.items()}
