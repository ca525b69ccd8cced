"""Discrepancy of modalities: who predicts the truth best, and the factors that damp it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..balancing.distributed import summed_over_ranks
from ..balancing.error_scale import ErrorScale
from ..balancing.judging import having
from ..balancing.method import Step


def discrepancy_ratios(scores: Tensor) -> Tensor:
    """Score of each modality over the mean of the others', rho of Peng et al.

    For two modalities the ratio of the two; the mean of more is an extension of ours.

    Args:
        scores: sum or mean of the probabilities of the truth, not negative, shape (M,), M > 1.

    Returns:
        Shape (M,); 1 for all where a score is not finite or all are 0.

    >>> discrepancy_ratios(torch.tensor([0.6, 0.3]))
    tensor([2.0000, 0.5000])
    """
    others = (scores.sum() - scores) / (len(scores) - 1)
    ratios = scores / others.clamp_min(1e-12)
    useful = scores.isfinite().all() & (scores.sum() > 0)
    return torch.where(useful, ratios, torch.ones_like(ratios))


def coefficients(ratios: Tensor, alpha: float) -> Tensor:
    """Modulation coefficients, k of Peng et al.: 1 - tanh(alpha rho) where rho > 1, else 1.

    At rho = 1 it jumps from 1 to 1 - tanh(alpha), as published.

    Args:
        ratios: rho, shape (M,).
        alpha: degree of modulation.

    >>> coefficients(torch.tensor([2.0, 0.5]), alpha=0.1)
    tensor([0.8026, 1.0000])
    """
    damped = 1 - torch.tanh(alpha * ratios.relu())
    return torch.where(ratios > 1, damped, torch.ones_like(ratios))


class TruthScores:
    """Mean probability of the truth by modality, over the samples of a step that have it.

    Attributes:
        error: the scale of a regression's errors, a running mean over steps.
    """

    def __init__(self) -> None:
        self.error = ErrorScale()
        self._sums = torch.zeros(0)  # of each modality, with the number of samples: (M, 2)

    def restart(self) -> None:
        """Forget the samples: the next ones belong to another step."""
        self._sums = torch.zeros(0)

    @torch.no_grad()
    def add(self, step: Step) -> None:
        """Add a micro-batch, as the classifiers judge it, of all ranks."""
        predictions = [step.classifier_predictions[name].float() for name in step.modalities]
        scale = self.error.update(step.task, predictions, step.label)
        rows = []
        for name, prediction in zip(step.modalities, predictions, strict=True):
            truth, here = step.task.truth(prediction, step.label, scale), having(step, name)
            chosen = truth if here is None else truth[here]
            rows.append(torch.stack([chosen.sum(), chosen.new_tensor(len(chosen))]))
        sums = summed_over_ranks(torch.stack(rows).as_subclass(Tensor))
        self._sums = sums if len(self._sums) == 0 else self._sums + sums

    def take(self) -> Tensor:
        """The means, shape (M,), of a step that is over; NaN for what no sample has."""
        means = self._sums[:, 0] / self._sums[:, 1]
        self.restart()
        return means
