"""What is a method, and when do its hooks run?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Step:
    """What a method may see of one optimizer step.

    With gradient accumulation a step has several micro-batches: ``task_loss``, ``features`` and
    the gradients of the last layers are those of the micro-batch at hand, ``scores`` is the mean
    over all samples of this step seen so far, on all ranks.

    Attributes:
        encoders: one module per modality.
        head: the network's last layer, a module with a ``weight``.
        classifiers: one module per modality (eq. 5), each with its own ``head``; empty when the
            run has none.
        optimizer: the trainer's optimizer.
        task_loss: scalar with a graph, what the trainer would back-propagate on its own.
        classifier_losses: the same loss on each classifier's prediction; scalars.
        scores: epsilon of eq. 6, one per modality, larger is better, shape (M,).
        loss_scale: factor of the AMP gradient scaler, 1 without one.
    """

    encoders: Mapping[str, nn.Module]
    head: nn.Module
    classifiers: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    task_loss: Tensor
    classifier_losses: dict[str, Tensor] = field(default_factory=dict)
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    loss_scale: float = 1.0
    _fusion_gradient: Tensor | None = None
    _classifier_gradients: list[Tensor] | None = None

    @property
    def modalities(self) -> list[str]:
        return list(self.encoders)

    def fusion_gradient(self, *, differentiable: bool = False) -> Tensor:
        """Gradient of the task loss in the network's last layer (eq. 10), of its weight's shape.

        Args:
            differentiable: keep the graph, so that a function of this gradient can be
                back-propagated into the network. Only the last layer is traversed here.
        """
        known = self._fusion_gradient
        if known is None or (differentiable and not known.requires_grad):
            (known,) = torch.autograd.grad(
                self.task_loss * self.loss_scale,
                last_weight(self.head),
                create_graph=differentiable,
                retain_graph=True,
            )
            self._fusion_gradient = known
        return known

    def classifier_gradients(self) -> list[Tensor]:
        """Gradient of each classifier's loss in its last layer (eq. 9): the unimodal gradients.

        They are constants: nothing is back-propagated through them.
        """
        if self._classifier_gradients is None:
            self._classifier_gradients = [
                torch.autograd.grad(
                    self.classifier_losses[name] * self.loss_scale,
                    last_weight(self.classifiers[name]),
                    retain_graph=True,
                )[0]
                for name in self.modalities
            ]
        return self._classifier_gradients


class Method:
    """One way to balance modalities; this base class is plain joint training.

    The hooks, at their places in one iteration of MONAI's ``SupervisedTrainer``::

        prepare(encoders, classifiers)      once, when training starts
        for batch in loader:
            prediction = network(inputs)
            loss = loss_function(prediction, label)
            loss = method.loss(step)        LOSS_COMPLETED: what is back-propagated instead
            loss.backward()
            method.gradients(step)          BACKWARD_COMPLETED, before an optimizer step only
            optimizer.step()
            method.stepped(step)            MODEL_COMPLETED, after an optimizer step only

    The classifiers' own losses are added by the handler, on detached features.
    """

    needs_classifiers = False

    def prepare(
        self, encoders: Mapping[str, nn.Module], classifiers: Mapping[str, nn.Module]
    ) -> None:
        """Refuse what this method cannot train, before anything is computed."""

    def loss(self, step: Step) -> Tensor:
        """Return the scalar that is back-propagated through the network."""
        return step.task_loss

    def gradients(self, step: Step) -> None:
        """Change gradients, or the coming update, once per optimizer step."""

    def stepped(self, step: Step) -> None:
        """Undo or remember, once the optimizer has stepped."""

    def record(self) -> dict[str, Tensor]:
        """What is worth plotting of the last step: name to one value per modality, shape (M,)."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All that has to survive a restart, as tensors and plain types."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""


def last_weight(module: nn.Module) -> Tensor:
    """Weight of the last layer: of a module's ``head``, or of the module when it is one layer.

    Raises:
        ValueError: there is no such weight.
    """
    weight = getattr(getattr(module, "head", module), "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"{type(module).__name__} has no last layer with a weight: call its last layer `head`"
        )
    return weight
