"""Disentangled gradient learning (Wei et al., ICCV 2025)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.features import detached
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_choice, check_number
from ..balancing.subsets import check_fusion, fused, precise

Unimodal = Literal["fusion", "classifiers"]


def disentangled_loss(joint: Tensor, unimodal: Tensor, alpha: float) -> Tensor:
    """L + alpha sum L_i, where L was computed on detached features.

    Args:
        joint: the task loss, whose gradient ends where the features were detached.
        unimodal: the losses L_i of single modalities, shape (M,).
        alpha: their weight.

    >>> disentangled_loss(torch.tensor(1.0), torch.tensor([0.5, 0.25]), alpha=4.0)
    tensor(4.)
    """
    return joint + alpha * unimodal.sum()


class DGL(Method):
    """Let each encoder learn from what it can do alone, and the fusion from the joint loss.

    The fusion and the head see detached features, so that nothing of the joint loss L reaches the
    encoders, which it would hold back. An encoder sees alpha L_i, the loss of the fusion's
    prediction from its modality alone, and no L_i touches the fusion.

    Paper and released code: the same in what is computed; released code takes two backward passes
    and deletes the gradients in the fusion in between, selected by parameter names. Its fusions are
    linear and see zeros for the other modalities; here these are masked in the way that the fusion
    understands, and the M further passes of the fusion run in eval mode, so that they leave running
    statistics alone. Released scripts clip the gradient at norm 40, here the trainer may.
    Under Adam and AdamW a constant factor on all gradients of an encoder does next to nothing
    unless gradients are clipped.

    Extensions of ours: regression and segmentation, and more than two modalities, all by the same
    rule; ``unimodal="classifiers"``, where L_i is the loss of a classifier of its own, for fusions
    that cannot make sense of one modality. Then alpha scales the classifiers' gradients too.

    Args:
        alpha: weight of the unimodal losses; released 4 for CREMA-D.
        unimodal: "fusion" or "classifiers": what predicts from a single modality.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Wei et al.: Boosting Multimodal Learning via Disentangled Gradient Learning. ICCV 2025"
    changes = "encoders learn from unimodal losses only"
    published_modalities = 2

    def __init__(self, alpha: float = 4.0, *, unimodal: Unimodal = "fusion") -> None:
        check_number("alpha", alpha, above=0)
        check_choice("unimodal", unimodal, get_args(Unimodal))
        self.alpha = alpha
        self.unimodal: Unimodal = unimodal
        self.needs_classifiers = self.attached = unimodal == "classifiers"

    def prepare(self, run: Run) -> None:
        """Refuse networks whose fusion cannot be asked about one modality."""
        super().prepare(run)
        if self.unimodal == "fusion":
            check_fusion(run, "DGL")

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """The fusion sees what an encoder gave, and no gradient goes back."""
        return detached(feature)

    def loss(self, step: Step) -> Tensor:
        """The joint loss for fusion and head, the unimodal losses for the encoders."""
        if self.unimodal == "classifiers":
            losses = [step.classifier_losses[name] for name in step.modalities]
        else:
            losses = [unimodal_loss(step, name) for name in step.modalities]
        return disentangled_loss(step.task_loss, torch.stack(losses), self.alpha)


def unimodal_loss(step: Step, modality: str) -> Tensor:
    """Loss of the fusion's prediction from one modality, with a gradient in its encoder alone.

    Returns:
        A scalar; a constant where the encoder gave nothing that learns.
    """
    copies = detached(step.features)
    # High- and low-level features depend on each other: gradients are those in copies of them.
    pairs = [
        (part, copy.requires_grad_())
        for part, copy in zip(
            tensors_of(step.features.get(modality)), tensors_of(copies.get(modality)), strict=True
        )
        if part.requires_grad
    ]
    present = {name: name == modality for name in step.modalities}
    loss = step.task.loss(fused(step, copies, present), step.label).mean()
    total = loss.detach()
    if not pairs:
        return total
    gradients = torch.autograd.grad(
        loss * step.loss_scale, [copy for _, copy in pairs], allow_unused=True
    )
    for (part, _), gradient in zip(pairs, gradients, strict=True):
        if gradient is not None:
            passed = (precise(part) * (precise(gradient) / step.loss_scale)).sum()
            total = total + (passed - passed.detach())
    return total


def tensors_of(feature: Any) -> list[Tensor]:
    """All tensors in a feature, in order."""
    if isinstance(feature, Tensor):
        return [feature]
    if isinstance(feature, dict):
        feature = list(feature.values())
    if isinstance(feature, list | tuple):
        return [tensor for part in feature for tensor in tensors_of(part)]
    return []
