"""Judgments of a step: the classifiers' losses, mean scores, and cosines of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .distributed import summed_over_ranks
from .features import detached, selected
from .gradients import cosines
from .method import Step, weight_or_none
from .tasks import scores_of


def classify(step: Step, *, attached: bool) -> None:
    """Let the classifiers predict from the step's features, and take their losses.

    Losses that reach nothing but the classifiers are differentiated here, one classifier after
    another: its graph is let go before the next one runs, and what its last layer gets is known.

    Args:
        step: its classifier_predictions, classifier_losses and last_layer_gradients are filled.
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
        prediction, loss = _judged(step, name, feature if attached else detached(feature))
        if not attached:
            prediction, loss = prediction.detach(), _differentiated(step, name, loss)
        step.classifier_predictions[name], step.classifier_losses[name] = prediction, loss


def _judged(step: Step, name: str, feature: Any) -> tuple[Tensor, Tensor]:
    """Prediction from one modality's feature, and its loss over the samples that have it.

    Samples without the modality teach its classifier nothing; their predictions are zeros.
    """
    classifier, here = step.classifiers[name], having(step, name)
    if here is None or not bool(here.any()):
        prediction = classifier(feature)
        loss = step.task.loss(prediction, step.label).mean()
        return prediction, loss if here is None else 0 * loss
    part = classifier(selected(feature, here))
    prediction = part.new_zeros(len(here), *part.shape[1:])
    prediction[here] = part
    return prediction, step.task.loss(part, step.label[here]).mean()


def _differentiated(step: Step, name: str, loss: Tensor) -> Tensor:
    """The same loss, which holds the gradients of the classifier instead of a graph."""
    classifier = step.classifiers[name]
    parameters = [p for p in classifier.parameters() if p.requires_grad]
    if not loss.requires_grad:  # all frozen
        return loss
    with torch.autocast(loss.device.type, enabled=False):  # as a backward pass outside of it
        gradients = torch.autograd.grad(loss * step.loss_scale, parameters, allow_unused=True)
    last = weight_or_none(classifier)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter is last and gradient is not None:
            step.last_layer_gradients[name] = gradient
    return _KnownGradients.apply(loss.detach(), step.loss_scale, gradients, *parameters)


class _KnownGradients(torch.autograd.Function):
    """A scalar whose gradients in some parameters are known before it is back-propagated."""

    @staticmethod
    def forward(
        ctx: Any, loss: Tensor, scale: float, gradients: Sequence[Tensor | None], *_: Tensor
    ) -> Tensor:
        ctx.scale, ctx.gradients = scale, gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's type
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        factor = upstream / ctx.scale
        return None, None, None, *(None if g is None else g * factor for g in ctx.gradients)


def having(step: Step, modality: str) -> Tensor | None:
    """Which samples have a modality, bool, shape (B,); None where all have it."""
    known = step.run.available
    here = None if known is None else known[:, step.modalities.index(modality)]
    return None if here is None or bool(here.all()) else here


class MeanScores:
    """Mean scores over all samples of an optimizer step so far, on all ranks."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None  # of each modality and the network, with their numbers

    def restart(self) -> None:
        """Forget the samples: the next ones belong to another step."""
        self._sums = None

    def add(self, step: Step) -> None:
        """Add a micro-batch, and set the step's ``scores`` and ``fusion_score``.

        The modalities are judged by their classifiers, or by the members of a late fusion, on the
        samples that have them: NaN for one that no sample has. Where there are neither, there are
        no scores.
        """
        predictions = step.classifier_predictions or step.predictions
        if not predictions:
            return
        judged = [(predictions[name], having(step, name)) for name in step.modalities]
        sums = torch.stack([_sum_of(step, *each) for each in [*judged, (step.prediction, None)]])
        batch = summed_over_ranks(sums)
        self._sums = batch if self._sums is None else self._sums + batch
        means = self._sums[:, 0] / self._sums[:, 1]  # 0 / 0, NaN, where no sample has it
        step.scores, step.fusion_score = means[:-1], means[-1]


def _sum_of(step: Step, prediction: Tensor, here: Tensor | None) -> Tensor:
    """Sum of the scores of some samples, all for None, and how many they are; shape (2,)."""
    scores = scores_of(step.task, prediction, step.label)
    chosen = scores if here is None else scores[here]
    return torch.stack([chosen.sum(), chosen.new_tensor(len(chosen))])


def compare_gradients(step: Step) -> None:
    """Set the step's ``cosines``, where network and classifiers have last layers that learn alike.

    To be called before the backward pass, which frees the graph these gradients come from.
    """
    if step.head is None or not step.classifiers:
        return
    modules = (step.head, *step.classifiers.values())
    weights = [weight for m in modules if (weight := weight_or_none(m)) is not None]
    alike = len({weight.shape for weight in weights}) == 1
    if len(weights) == len(modules) and alike and all(w.requires_grad for w in weights):
        fusion = step.fusion_gradient().detach()
        step.cosines = cosines(fusion, step.classifier_gradients())
