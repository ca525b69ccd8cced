"""Disentangled gradient learning (Wei et al., ICCV 2025)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import Method, Run, Step


def disentangled_loss(joint: Tensor, unimodal: Tensor, alpha: float) -> Tensor:
    """L + alpha sum L_i, where L was computed on detached features.

    Args:
        joint: the task loss, whose gradient ends where the features were detached.
        unimodal: losses of the classifiers, shape (M,).
        alpha: weight of the classifiers' losses.

    >>> disentangled_loss(torch.tensor(1.0), torch.tensor([0.5, 0.25]), alpha=4.0)
    tensor(4.)
    """
    return joint + alpha * unimodal.sum()


class DGL(Method):
    """Let each encoder learn from its own classifier alone, and the fusion from the joint loss.

    The fusion and the head see detached features, so that nothing of the joint loss L reaches the
    encoders, which it would hold back. The encoders see L_i of their own classifiers, alpha times;
    no classifier touches the fusion.

    Paper and released code: the same; released code takes two backward passes and deletes the
    gradients in the fusion in between, selected by parameter names, here one pass does both. As
    released, alpha scales the gradients of the classifiers too. Under Adam and AdamW a constant
    factor on all gradients of an encoder does next to nothing unless gradients are clipped.

    Extensions of ours: regression and segmentation, and more than two modalities, all by the same
    rule.

    Args:
        alpha: weight of the classifiers' losses; released 4 for CREMA-D.

    Raises:
        ValueError: alpha is not a number above 0.
    """

    paper = "Wei et al.: Boosting Multimodal Learning via Disentangled Gradient Learning. ICCV 2025"
    changes = "encoders learn from their classifiers only"
    published = frozenset({"classification"})
    extended = frozenset({"regression", "segmentation"})
    published_modalities = 2
    needs_classifiers = True
    attached = True

    def __init__(self, alpha: float = 4.0) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not alpha > 0:
            raise ValueError(f"alpha is {alpha!r}; it is a number above 0")
        self.alpha = alpha

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """The fusion sees what an encoder gave, and no gradient goes back."""
        # The handler imports this package, so it is there only once everything is imported.
        from ..training.handler import detached

        return detached(feature)

    def loss(self, step: Step) -> Tensor:
        """The joint loss for fusion and head, the classifiers' losses for the encoders."""
        losses = torch.stack(list(step.classifier_losses.values()))
        return disentangled_loss(step.task_loss, losses, self.alpha)
