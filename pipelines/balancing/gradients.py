"""Sizes and directions of gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity


def cosines(fusion: Tensor, unimodal: Sequence[Tensor]) -> Tensor:
    """Cosine similarity of flattened gradients (Guo et al., Appendix A); 0 where one is zero.

    Args:
        fusion: gradient in the network's last layer (eq. 10), any shape.
        unimodal: gradient in each classifier's last layer (eq. 9), M tensors of that shape.

    Returns:
        Shape (M,).
    """
    flat = torch.stack([gradient.flatten() for gradient in unimodal]).to(fusion.dtype)
    return cosine_similarity(fusion.flatten()[None], flat, dim=1, eps=1e-12)


def gradients_of(module: nn.Module) -> list[Tensor]:
    """The gradients of a module's parameters, of those that have one."""
    return [p.grad for p in module.parameters() if p.grad is not None]


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a module as one vector, a scalar."""
    gradients = [gradient.flatten() for gradient in gradients_of(module)]
    if not gradients:
        return torch.zeros(())
    return torch.stack([torch.linalg.vector_norm(g).float() for g in gradients]).norm()
