"""Balancing terms from improvements: eq. 7 of CGGM as printed, and with a guard."""

from __future__ import annotations

import torch
from torch import Tensor

# The authors' released code adds this to the sum of the improvements; it keeps eq. 7 finite.
EPSILON = 1e-8


def paper_balance(improvement: Tensor, rho: float) -> Tensor:
    """Balancing term B of eq. 7 as printed: small where a classifier improved much.

    The terms sum to rho (M - 1). They are not bounded: when improvements of both signs nearly
    cancel they are huge, and a negative one turns descent into ascent.

    Args:
        improvement: change of each classifier's score since the last step, shape (M,).
        rho: overall scale, positive.

    Returns:
        One factor per modality, shape (M,).

    >>> paper_balance(torch.tensor([3.0, 1.0]), rho=1.0)
    tensor([0.2500, 0.7500])
    """
    total = improvement.sum() + EPSILON
    return rho * (total - improvement) / total


def bounded_balance(improvement: Tensor, rho: float, *, tolerance: float = 0.1) -> Tensor:
    """Eq. 7 kept in [0, rho], and 1 for all when the improvements do not tell modalities apart.

    Without a modality that got worse eq. 7 lies in [0, rho] by itself and nothing changes here.
    Where the improvements cancel, or most modalities got worse, eq. 7 divides by noise or turns
    its own meaning around; no modulation is the honest answer then.

    Args:
        improvement: change of each classifier's score since the last step, shape (M,).
        rho: overall scale, positive.
        tolerance: the improvements cancel when their sum is at most this share of the sum of
            their sizes.

    >>> bounded_balance(torch.tensor([3.0, -1.0]), rho=1.0)
    tensor([0., 1.])
    >>> bounded_balance(torch.tensor([1.0, -1.0]), rho=1.2)
    tensor([1., 1.])
    """
    cancelled = improvement.sum() <= tolerance * improvement.abs().sum()
    factors = paper_balance(improvement, rho).clamp(0, rho)
    return torch.where(cancelled, torch.ones_like(factors), factors)
