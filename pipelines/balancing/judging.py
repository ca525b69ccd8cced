"""Judgments of a step: the classifiers' losses, mean scores, and cosines of gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from .distributed import summed_over_ranks
from .features import detached
from .gradients import cosines
from .method import Step, last_weight
from .tasks import scores_of


def classify(step: Step, *, attached: bool) -> None:
    """Let the classifiers predict from the step's features, and take their losses.

    Args:
        step: its classifier_predictions and classifier_losses are filled.
        attached: whether the losses may reach the encoders too, and not the classifiers alone.

    Raises:
        RuntimeError: an encoder was not called in the forward pass.
    """
    for name, classifier in step.classifiers.items():
        if name not in step.features:
            raise RuntimeError(
                f"the encoder of {name!r} was not called in this forward pass: "
                "call it as a module, encoder(x), for every batch"
            )
        classifier.train()
        feature = step.features[name]
        prediction = classifier(feature if attached else detached(feature))
        step.classifier_predictions[name] = prediction
        step.classifier_losses[name] = step.task.loss(prediction, step.label).mean()


class MeanScores:
    """Mean scores over all samples of an optimizer step so far, on all ranks."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None  # of each modality and the network; how many samples

    def restart(self) -> None:
        """Forget the samples: the next ones belong to another step."""
        self._sums = None

    def add(self, step: Step) -> None:
        """Add a micro-batch, and set the step's ``scores`` and ``fusion_score``.

        The modalities are judged by their classifiers, or by the members of a late fusion; where
        there are neither, there are no scores.
        """
        predictions = step.classifier_predictions or step.predictions
        if not predictions:
            return
        judged = [*(predictions[name] for name in step.modalities), step.prediction]
        sums = [scores_of(step.task, prediction, step.label).sum() for prediction in judged]
        sums.append(torch.as_tensor(float(step.label.shape[0])).to(sums[0]))
        batch = summed_over_ranks(torch.stack(sums))
        self._sums = batch if self._sums is None else self._sums + batch
        means = self._sums[:-1] / self._sums[-1]
        step.scores, step.fusion_score = means[:-1], means[-1]


def compare_gradients(step: Step) -> None:
    """Set the step's ``cosines``, where network and classifiers have last layers to compare.

    To be called before the backward pass, which frees the graph these gradients come from.
    """
    if step.classifiers and step.head is not None and last_weight(step.head).requires_grad:
        fusion = step.fusion_gradient().detach()
        step.cosines = cosines(fusion, step.classifier_gradients())
