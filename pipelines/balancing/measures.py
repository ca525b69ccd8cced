"""What is measured of a training step, whatever the method?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .tasks import Task


def scores_of(task: Task, prediction: Tensor, label: Tensor) -> Tensor:
    """Score of each sample as the task tells it, shape (B,).

    Raises:
        ValueError: the task's scores are not one number per sample.
    """
    # MONAI's MetaTensor would carry its history from step to step.
    scores = task.scores(prediction.detach(), label).float().as_subclass(Tensor)
    if scores.shape != label.shape[:1]:
        raise ValueError(
            f"the task's scores have shape {tuple(scores.shape)} for {label.shape[0]} samples: "
            "they are one number per sample, larger is better"
        )
    return scores


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a module as one vector, a scalar."""
    gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(gradients)).float().norm()


def ids_of(batch: Any) -> list[str] | None:
    """Names of the samples, where the batch has them."""
    found = None
    if isinstance(batch, Mapping):
        found = batch.get("id", batch.get("case"))
    return [str(name) for name in found] if isinstance(found, list | tuple) else None
