"""What differs between classification, regression and segmentation?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Task:
    """How predictions of one task are judged; methods know nothing else about it.

    A loss and a score are enough for joint training, CGGM and every method that reads gradients,
    losses or scores only. The three tasks below also tell what other methods ask for.

    Attributes:
        loss: (prediction, label) to a scalar, the mean over the batch; the classifiers are
            trained with it too.
        scores: (prediction, label) to one number per sample, shape (B,), larger is better; their
            mean over the samples of a step is epsilon of eq. 6.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], Tensor]
    kind: ClassVar[str] = "a task of your own"

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Give the loss of each sample, shape (B,)."""
        raise NotImplementedError(self._unknown("the loss of each sample"))

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """Give the probability of the truth of each sample, in (0, 1], shape (B,).

        Args:
            prediction: of a network or a classifier.
            label: the truth.
            scale: for a regression, the error that counts as a probability of 1/e.
        """
        raise NotImplementedError(self._unknown("the probability of the truth"))

    def classes(self, label: Tensor) -> Tensor:
        """Give the class of each sample, or of each pixel, as whole numbers from 0."""
        raise NotImplementedError(self._unknown("classes"))

    def _unknown(self, what: str) -> str:
        return (
            f"{type(self).__name__} does not tell {what}, which this method needs: use "
            "ClassificationTask, RegressionTask or SegmentationTask, or a subclass that tells it"
        )


class ClassificationTask(Task):
    """Predictions are logits (B, C), labels are class numbers (B,)."""

    kind = "classification"

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of each sample."""
        return cross_entropy(prediction, label, reduction="none")

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """Softmax probability of the true class."""
        return prediction.softmax(1).gather(1, label[:, None])[:, 0]

    def classes(self, label: Tensor) -> Tensor:
        """The labels themselves."""
        return label


class RegressionTask(Task):
    """Predictions and labels are values (B, 1)."""

    kind = "regression"

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Absolute error of each sample."""
        return (prediction - label).abs().flatten(1).mean(1)

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """exp(-|error| / scale): an extension of ours, no paper defines it."""
        return torch.exp(-self.sample_losses(prediction, label) / scale)

    def classes(self, label: Tensor) -> Tensor:
        """Labels rounded to whole numbers and counted from the smallest: an extension of ours."""
        rounded = label.flatten(1)[:, 0].round().long()
        return rounded - rounded.min()


class SegmentationTask(Task):
    """Predictions are logits (B, C, H, W), labels are class numbers (B, 1, H, W)."""

    kind = "segmentation"

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy over the pixels of each sample."""
        return cross_entropy(prediction, label[:, 0].long(), reduction="none").flatten(1).mean(1)

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """Probability of the true class, averaged by class: an extension of ours.

        A plain mean over the pixels would be that of the background.
        """
        classes = label[:, 0].long()
        found = prediction.softmax(1).gather(1, classes[:, None])[:, 0].flatten(1)
        means = []
        for number in range(prediction.shape[1]):
            here = (classes == number).flatten(1).to(found)
            counts = here.sum(1)
            means.append(torch.where(counts > 0, (found * here).sum(1) / counts.clamp(min=1), -1.0))
        table = torch.stack(means, dim=1)
        present = table >= 0
        return (table * present).sum(1) / present.sum(1)

    def classes(self, label: Tensor) -> Tensor:
        """The labels themselves, (B, H, W)."""
        return label[:, 0].long()
