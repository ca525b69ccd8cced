"""What differs between classification, regression and segmentation?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Task:
    """How predictions of one task are judged; methods know nothing else about it.

    Attributes:
        loss: (prediction, label) to a scalar, the mean over the batch; the classifiers are
            trained with it too.
        scores: (prediction, label) to one number per sample, shape (B,), larger is better; their
            mean over the samples of a step is epsilon of eq. 6.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], Tensor]
