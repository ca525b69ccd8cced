"""A method: its hooks, what it declares, and what it sees of a run and of a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .tasks import Task

TASKS = ("classification", "regression", "segmentation")


@dataclass
class Run:
    """What a method may know of a training.

    Attributes:
        network: not wrapped; ``fuse(features)`` is there for networks of :mod:`cggm.models`.
        encoders: one module per modality.
        classifiers: one per modality (eq. 5), each with its own ``head``; empty without any.
        task: loss and scores, and what else the task tells.
        optimizer: of network and classifiers.
        batches: the data loader of the training, or None.
        prepare_batch: (batch, device, non_blocking) to (inputs, label).
        device: where the network is.
        epochs: how many there will be.
        epoch: the one at hand, from 1; 0 before the first.
        available: which modalities each sample at hand has, bool, shape (B, M); None for all.
        left: what the method leaves of them to the fusion, for :class:`ModalityDropout` to draw
            from; the same as ``available`` where a method says nothing.
    """

    network: nn.Module
    encoders: Mapping[str, nn.Module]
    classifiers: Mapping[str, nn.Module]
    task: Task
    optimizer: torch.optim.Optimizer
    batches: Any
    prepare_batch: Callable[..., Any]
    device: torch.device
    epochs: int
    epoch: int = 0
    available: Tensor | None = None
    left: Tensor | None = None

    @property
    def modalities(self) -> list[str]:
        return list(self.encoders)


@dataclass
class Step:
    """What a method may see of one optimizer step: of the micro-batch at hand, but for scores.

    These are means over all samples of the step seen so far, on all ranks.

    Attributes:
        run: the training that the step belongs to.
        head: the network's last layer, a module with a ``weight``.
        task_loss: scalar with a graph, what would be back-propagated without a method.
        prediction: of the network, with its graph.
        label: the truth.
        inputs: what the encoders were called with, x_i, by modality.
        features: h_i of eq. 1 as the encoders gave them, with their graphs.
        seen: what the fusion got of them.
        ids: of the samples, where the batch has them.
        predictions: of the members of a late fusion, see :class:`cggm.models.LateFusion`.
        classifier_predictions: of the classifiers.
        classifier_losses: the task's loss on each classifier's prediction; scalars.
        last_layer_gradients: of these losses, times ``loss_scale``, where they are known already.
        scores: epsilon of eq. 6, one per modality, larger is better, shape (M,).
        fusion_score: that of the whole network, a scalar.
        cosines: between the last-layer gradients of network and classifiers, shape (M,).
        loss_scale: factor of the AMP gradient scaler, 1 without one.
        gradient_scale: factor in the gradients at an update, the same, or 1 once ``unscale_`` took
            it out of them.
    """

    run: Run
    head: nn.Module | None
    task_loss: Tensor
    prediction: Tensor
    label: Tensor
    inputs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    ids: list[str] | None = None
    predictions: dict[str, Tensor] = field(default_factory=dict)
    classifier_predictions: dict[str, Tensor] = field(default_factory=dict)
    classifier_losses: dict[str, Tensor] = field(default_factory=dict)
    last_layer_gradients: dict[str, Tensor] = field(default_factory=dict)
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    fusion_score: Tensor | None = None
    cosines: Tensor | None = None
    loss_scale: float = 1.0
    gradient_scale: float = field(init=False)
    _fusion_gradient: Tensor | None = None

    def __post_init__(self) -> None:
        self.seen = self.seen or self.features
        self.gradient_scale = self.loss_scale

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        return self.run.encoders

    @property
    def classifiers(self) -> Mapping[str, nn.Module]:
        return self.run.classifiers

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.run.optimizer

    @property
    def task(self) -> Task:
        return self.run.task

    @property
    def modalities(self) -> list[str]:
        return self.run.modalities

    @property
    def last_layer(self) -> nn.Module:
        """The network's head, for methods that need one."""
        if self.head is None:
            raise ValueError(f"{type(self.run.network).__name__} has no last layer called `head`")
        return self.head

    def fusion_gradient(self, *, differentiable: bool = False) -> Tensor:
        """Gradient of the task loss in the network's last layer (eq. 10), of its weight's shape.

        Args:
            differentiable: keep the graph, so that a function of this gradient can be
                back-propagated into the network. Only the last layer is traversed here.
        """
        gradient = self._fusion_gradient
        if gradient is None or (differentiable and not gradient.requires_grad):
            gradient = self._fusion_gradient = self._gradient(
                self.task_loss, self.last_layer, "the network", differentiable=differentiable
            )
        return gradient

    def member_losses(self) -> list[Tensor]:
        """The task's loss on the prediction of each member of a late fusion.

        Raises:
            RuntimeError: the network has no members.
        """
        if not self.predictions:
            raise RuntimeError(
                f"{type(self.run.network).__name__} has no `members`, one network per modality "
                "whose predictions are joined, and this method trains nothing else: see "
                "cggm.models.LateFusion"
            )
        return [self.task.loss(p, self.label).mean() for p in self.predictions.values()]

    def classifier_gradients(self) -> list[Tensor]:
        """Gradient of each classifier's loss in its last layer (eq. 9): the unimodal gradients.

        They are constants: nothing is back-propagated through them.
        """
        known = self.last_layer_gradients
        for name, classifier in self.classifiers.items():
            if name not in known:
                loss, owner = self.classifier_losses[name], f"the classifier of {name!r}"
                known[name] = self._gradient(loss, classifier, owner)
        return [known[name] for name in self.classifiers]

    def _gradient(
        self, loss: Tensor, module: nn.Module, owner: str, *, differentiable: bool = False
    ) -> Tensor:
        """Gradient of a loss in a last layer, refused where there can be none."""
        weight = last_weight(module)
        if not weight.requires_grad:
            raise ValueError(
                f"the last layer of {owner} is frozen, and its gradient is read here: leave its "
                "requires_grad True, or choose another method"
            )
        (gradient,) = torch.autograd.grad(
            loss * self.loss_scale,
            weight,
            create_graph=differentiable,
            retain_graph=True,
            allow_unused=True,
        )
        if gradient is None:
            raise ValueError(
                f"the last layer of {owner} took no part in its prediction: call it in the forward "
                "pass, or pass head=<the layer that predicts>"
            )
        return gradient


class Method:
    """One way to balance modalities; this base class is joint training.

    The hooks in one training; ``Balancer`` calls them:

        prepare(run)                        once, when training starts
        for epoch in epochs:
            epoch_begins(run)
            for batch in loader:
                for modality, encoder:
                    h = method.feature(modality, encoder(x), run)   what the fusion sees
                loss = loss_function(prediction, label)
                loss = method.loss(step)    what is back-propagated instead
                loss.backward()
                method.gradients(step)      before an optimizer step only
                optimizer.step()
                method.stepped(step)        after an optimizer step only
            epoch_ends(run)

    What a method is, for the catalogue, for tables and for refusing what it cannot train:

    Attributes:
        paper: where it was published.
        changes: what it changes, in a few words.
        published: the tasks its paper has; classification, as most have, unless told.
        extended: further tasks, by an extension of ours; all others unless told.
        modalities: fewest and most modalities it can train; None for no limit.
        published_modalities: most modalities its paper has.
        needs_classifiers: classifiers are trained, by losses on detached features.
        attached: they see features with graphs, and their losses are part of what :meth:`loss`
            returns.
        needs_head: the network's last layer is read.
        needs_own_encoders: encoders share no parameters.
        needs_double_backward: a gradient is differentiated, which ``torch.compile`` cannot.
        needs_epochs: the number of the epoch matters, or hooks of epochs do something.
        needs_batches: parts of the training data are read besides.
        late_fusion: None, or the rule by which :class:`cggm.models.LateFusion` joins predictions.
        drops: probability that the method itself drops a modality; it then takes no dropout.
        teachers_by: the method that trains what this one learns from, ``teachers`` (a path).
    """

    paper: ClassVar[str] = ""
    changes: ClassVar[str] = "nothing"
    published: ClassVar[frozenset[str]] = frozenset({"classification"})
    extended: ClassVar[frozenset[str]] = frozenset({"regression", "segmentation"})
    modalities: ClassVar[tuple[int, int | None]] = (1, None)
    published_modalities: ClassVar[int | None] = None
    needs_classifiers: bool = False
    attached: bool = False
    needs_head: bool = False
    needs_own_encoders: bool = True
    needs_double_backward: bool = False
    needs_epochs: bool = False
    needs_batches: bool = False
    late_fusion: ClassVar[str | None] = None
    drops: float = 0.0
    teachers_by: ClassVar[str | None] = None

    @property
    def takes_dropout(self) -> bool:
        """Whether there is a fusion, and its dropout of modalities is left to others."""
        return self.late_fusion is None and not self.drops

    @classmethod
    def beyond_paper(cls, task: str, modalities: int) -> str:
        """What of a training the method's paper does not have, in words; empty for nothing."""
        most = cls.published_modalities
        more = [task] if task in TASKS and task not in cls.published else []
        more += [f"{modalities} modalities"] if most is not None and modalities > most else []
        return " and ".join(more)

    def prepare(self, run: Run) -> None:
        """Refuse what this method cannot train, before anything is computed.

        Raises:
            ValueError: the number of modalities, or the task, is none of the method's.
        """
        name = type(self).__name__
        fewest, most = self.modalities
        count = len(run.modalities)
        if count < fewest or (most is not None and count > most):
            limits = f"{fewest} or more" if most is None else f"{fewest} to {most}"
            hint = ": train it with the method 'joint'" if count == 1 else ""
            raise ValueError(
                f"{name} balances {limits} modalities; this network has {run.modalities}{hint}"
            )
        covered = self.published | self.extended
        if run.task.kind in TASKS and run.task.kind not in covered:
            raise ValueError(
                f"{name} is for {' and '.join(sorted(covered))}, this task is a {run.task.kind}: "
                "choose another method"
            )

    def epoch_begins(self, run: Run) -> None:
        """Prepare an epoch; networks may be copied and tried, random states are restored."""

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """Return what the fusion sees of an encoder's output, while training."""
        return feature

    def loss(self, step: Step) -> Tensor:
        """Return the scalar that is back-propagated."""
        return step.task_loss

    def gradients(self, step: Step) -> None:
        """Change gradients, or the coming update, once per optimizer step."""

    def stepped(self, step: Step) -> None:
        """Undo or remember, once the optimizer has stepped."""

    def epoch_ends(self, run: Run) -> None:
        """Learn from an epoch."""

    def record(self) -> dict[str, Tensor]:
        """What is worth plotting of the last step: name to one value per modality, shape (M,)."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, kept under their own names, as plain values."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

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
    weight = weight_or_none(module)
    if weight is None:
        raise ValueError(
            f"{type(module).__name__} has no last layer with a weight: call its last layer `head`, "
            "or for the network's pass head=<its last layer>"
        )
    return weight


def weight_or_none(module: nn.Module) -> Tensor | None:
    """The same, or None where there is no such weight."""
    weight = getattr(getattr(module, "head", module), "weight", None)
    return weight if isinstance(weight, Tensor) else None
