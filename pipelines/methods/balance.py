"""Balancing terms from improvements: eq. 7 of CGGM as printed, and two bounded rules."""

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


def bounded_balance(
    improvement: Tensor, rho: float, *, ceiling: float, tolerance: float = 0.1
) -> Tensor:
    """Eq. 7 kept in [0, ceiling], and 1 for all when the improvements do not tell modalities apart.

    Without a modality that got worse eq. 7 lies in [0, rho] by itself and nothing changes here.
    Where the improvements cancel, or most modalities got worse, eq. 7 divides by noise or turns
    its own meaning around; no modulation is the honest answer then.

    Args:
        improvement: change of each classifier's score since the last step, shape (M,).
        rho: overall scale, positive.
        ceiling: the largest factor.
        tolerance: the improvements cancel when their sum is at most this share of the sum of
            their sizes.

    >>> bounded_balance(torch.tensor([3.0, -1.0]), rho=1.0, ceiling=1.0)
    tensor([0., 1.])
    >>> bounded_balance(torch.tensor([1.0, -1.0]), rho=1.0, ceiling=1.0)
    tensor([1., 1.])
    """
    total = improvement.sum()
    cancelled = total <= tolerance * improvement.abs().sum()
    factors = paper_balance(improvement, rho).clamp(0, ceiling)
    return torch.where(cancelled, torch.ones_like(factors).clamp(max=ceiling), factors)


def centered_balance(improvement: Tensor, rho: float, *, tolerance: float = 0.1) -> Tensor:
    """Eq. 7 around 1: what one encoder loses the others gain.

    The terms of eq. 7 sum to rho (M - 1) for M encoders, so that it also trains all of them at
    another rate than joint training does. Here B = 1 + rho (M / (M - 1) b - 1), with b of eq. 7 for
    rho = 1, where a modality that got worse counts as not improved; not below 0, and 1 for all
    where the improvements cancel.

    Args:
        improvement: change of each classifier's score since the last step, shape (M,), M > 1.
        rho: how far the factors leave 1; up to 1 their mean is exactly 1.
        tolerance: see :func:`bounded_balance`.

    >>> centered_balance(torch.tensor([3.0, 1.0]), rho=1.0)
    tensor([0.5000, 1.5000])
    """
    cancelled = improvement.sum() <= tolerance * improvement.abs().sum()
    gained = improvement.clamp(min=0)
    count = len(improvement)
    share = 1 - gained / gained.sum().clamp(min=EPSILON)
    factors = (1 + rho * (count / (count - 1) * share - 1)).clamp(min=0)
    return torch.where(cancelled, torch.ones_like(factors), factors)
