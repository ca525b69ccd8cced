"""Tasks: all that differs between classification, regression and segmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .class_means import similarities_by_image, similarities_in_batch, sums_by_image
from .features import Feature, pooled
from .scores import kind_of_score, score_by_name


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

    def choices(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits of choices that exclude each other, (B, C, ...), and the true one, (B, ...).

        They are added up where predictions are.
        """
        return prediction, self.classes(label)

    def errors(self, prediction: Tensor, label: Tensor) -> Tensor | None:
        """Give the error of each sample, shape (B,), where losses have no scale of their own.

        Returns:
            None for a task whose losses have one, such as a cross-entropy.
        """
        return None

    def residual(self, total: Tensor, label: Tensor) -> Tensor | None:
        """Give what the truth is beyond a prediction, where predictions add up to it.

        Returns:
            Of the label's shape; None for a task whose predictions are logits.
        """
        return None

    def class_vectors(self, feature: Feature, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give vectors that ought to differ by class: one per sample, or per image and class.

        A vector of zeros is that of an absent modality and left out.

        Args:
            feature: of one modality.
            label: the truth.

        Returns:
            Vectors (N, D) in float32 with their graph; the sample each belongs to, (N,); what
            :meth:`classes_of` turns into its class, (N, ...).
        """
        vectors = pooled(feature).float()
        samples = torch.arange(len(vectors), device=vectors.device)
        return _present(vectors, samples, self._marks(label))

    def class_similarities(self, maps: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Give the cosine of each vector with the mean vector of each class.

        Args:
            maps: a vector per sample (B, D), whose classes are those of the batch; of images
                (B, D, ...) one per position, whose classes are those of the image.
            label: the truth.

        Returns:
            (B, K, positions), and which of K classes there are, bool, (B, K).
        """
        return similarities_in_batch(maps, self.classes(label))

    def classes_of(self, marks: Tensor, span: Tensor | None = None) -> Tensor:
        """Give the class of each vector of :meth:`class_vectors`, shape (N,).

        Args:
            marks: its third part.
            span: see :meth:`span`; without one, classes count from the smallest of ``marks``.
        """
        return marks

    def span(self, marks: Tensor) -> Tensor | None:
        """Give the smallest and largest label, shape (2, 1), from which classes are counted.

        Returns:
            None for a task whose labels are classes.
        """
        return None

    def _marks(self, label: Tensor) -> Tensor:
        return self.classes(label)

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
        return self.classes_of(label.flatten(1)[:, :1])

    def errors(self, prediction: Tensor, label: Tensor) -> Tensor:
        """The absolute errors: their size depends on the unit of the labels."""
        return self.sample_losses(prediction, label)

    def residual(self, total: Tensor, label: Tensor) -> Tensor:
        """Label minus prediction."""
        return label - total

    def classes_of(self, marks: Tensor, span: Tensor | None = None) -> Tensor:
        """Labels, clamped to the span and rounded, counted from its lower end."""
        if span is not None:
            span = span.to(marks)
            marks = marks.clamp(span[0], span[1])
        rounded = marks[:, 0].round().long()
        lowest = rounded.min() if span is None else span[0, 0].round().long()
        return rounded - lowest

    def span(self, marks: Tensor) -> Tensor:
        """The smallest and the largest label."""
        return torch.stack([marks.min(), marks.max()])[:, None]

    def _marks(self, label: Tensor) -> Tensor:
        return label.flatten(1)[:, :1]


class SegmentationTask(Task):
    """Predictions are logits (B, C, ...), labels class numbers (B, 1, ...): slices or volumes."""

    kind = "segmentation"

    def sample_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy over the pixels of each sample."""
        return cross_entropy(prediction, label[:, 0].long(), reduction="none").flatten(1).mean(1)

    def truth(self, prediction: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
        """Probability of the true class, averaged by class: an extension of ours.

        A plain mean over the pixels would be that of the background.
        """
        classes = label[:, 0].long()
        truth = prediction.softmax(1).gather(1, classes[:, None])[:, 0].flatten(1)
        means = []
        for number in range(prediction.shape[1]):
            here = (classes == number).flatten(1).to(truth)
            counts = here.sum(1)
            means.append(torch.where(counts > 0, (truth * here).sum(1) / counts.clamp(min=1), -1.0))
        table = torch.stack(means, dim=1)
        present = table >= 0
        return (table * present).sum(1) / present.sum(1)

    def classes(self, label: Tensor) -> Tensor:
        """The labels themselves, (B, H, W) or (B, X, Y, Z)."""
        return label[:, 0].long()

    def class_vectors(self, feature: Feature, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean of the high-level features over the pixels of each class in each image."""
        maps = (feature if isinstance(feature, Tensor) else feature[0]).float()
        sums, totals = sums_by_image(maps, self.classes(label))
        samples, classes = torch.nonzero(totals > 0, as_tuple=True)
        vectors = sums[samples, classes] / totals[samples, classes][:, None]
        return _present(vectors, samples, classes)

    def class_similarities(self, maps: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine of each pixel's vector with the mean over each class in its own image."""
        return similarities_by_image(maps, self.classes(label))


def task_by_score(
    loss: Callable[[Tensor, Tensor], Tensor], scores: str | Callable[[Tensor, Tensor], Tensor]
) -> Task:
    """Build a task from its loss and its scores.

    Args:
        loss: see :class:`Task`.
        scores: the name of a score, which tells the kind of task too
            (:func:`cggm.pipelines.balancing.score_by_name`), or a function for a plain `Task`.

    Raises:
        ValueError: there is no score of this name.
    """
    if not isinstance(scores, str):
        return Task(loss, scores)
    kinds = (ClassificationTask, RegressionTask, SegmentationTask)
    (kind,) = (task for task in kinds if task.kind == kind_of_score(scores))
    return kind(loss, score_by_name(scores))


def task_of(
    task: Task | None,
    loss: Callable[[Tensor, Tensor], Tensor] | None,
    scores: str | Callable[[Tensor, Tensor], Tensor] | None,
) -> Task:
    """The task that is told, or the one of a loss and scores.

    Raises:
        ValueError: both are told, or neither, or there is no score of this name.
    """
    if task is not None and loss is None and scores is None:
        return task
    if task is not None or loss is None or scores is None:
        raise ValueError(
            "the loss and the scores are told once: pass a task, or loss= and scores= together"
        )
    return task_by_score(loss, scores)


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


def _present(vectors: Tensor, samples: Tensor, marks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leave out vectors of zeros: those of absent modalities."""
    here = vectors.detach().ne(0).any(1)
    return vectors[here], samples[here], marks.to(vectors.device)[here]
