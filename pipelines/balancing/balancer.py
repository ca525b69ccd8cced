"""One network, one method and one optimizer in a training loop of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import fitting
from .batches import prepare_modalities
from .capture import Capture
from .distributed import average_gradients, make_alike
from .features import Feature
from .gradients import gradient_norm
from .judging import MeanScores, classify, compare_gradients
from .method import Method, Run, Step
from .modality_dropout import ModalityDropout
from .optimization import encoders_of, is_unscaled, parameter_groups, parameters_of
from .record import Record, record_of
from .tasks import Task, task_of


class Balancer:
    """Lets a method see and change each step of a training loop.

        balancer = Balancer(CGGM(), network, loss=cross_entropy, scores="probability",
                            classifiers=classifiers)
        optimizer = balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
        for epoch in balancer.epochs(10, loader):
            for x, y in loader:
                optimizer.zero_grad()
                with balancer.capture():
                    prediction = network(x)
                balancer.loss(prediction, y).backward()
                with balancer.modulate():
                    optimizer.step()

    It owns what every method needs: features, the classifiers' losses on them (detached, so that
    they train nothing but the classifiers), and the scores over all micro-batches and ranks. To
    accumulate gradients, repeat ``capture``, ``loss`` and ``backward`` before one ``modulate``.
    Clip gradients inside it, before the step. Of several processes each wraps only the network in
    DistributedDataParallel, and calls that; the balancer gets the bare one.
    What a step did is in ``record``, plain floats: ``record["balance"]["flair"]``.

    Args:
        method: what to run; ``Joint()`` changes nothing and only records.
        network: not wrapped; its ``encoders`` map modalities to modules, ``head`` is last.
        task: loss and scores, and what else a method may ask.
        classifiers: one module per modality from the encoder's output to a prediction; their last
            layer, called ``head`` (or the module itself), has the shape of the network's head.
        loss: instead of a task, (prediction, label) to the mean loss of a batch.
        scores: beside ``loss``, the name of a score, or a function, larger is better.
        optimizer: of network and classifiers; may also be set later, before the first batch.
        scaler: the gradient scaler of mixed precision, where there is one.
        encoders: instead of ``network.encoders``.
        head: instead of ``network.head``.
        dropout: masks whole modalities in the fusion while training.

    Raises:
        ValueError: modules do not fit together, or loss and scores make no task.
    """

    def __init__(
        self,
        method: Method,
        network: nn.Module,
        task: Task | None = None,
        classifiers: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        scores: str | Callable[[Tensor, Tensor], Tensor] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scaler: torch.amp.GradScaler | None = None,
        encoders: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
        head: nn.Module | None = None,
        dropout: ModalityDropout | None = None,
    ) -> None:
        self.method, self.network, self.task = method, network, task_of(task, loss, scores)
        self.encoders = encoders_of(network, encoders)
        self.head = fitting.head_of(method, network, head)
        self.classifiers = fitting.classifiers_of(method, self.encoders, self.head, classifiers)
        self.optimizer, self.scaler = optimizer, scaler
        self.record: Record = {}
        self.step: Step | None = None  # the batch at hand, from its loss to the end of its update
        self._run: Run | None = None
        self.masking = fitting.masking_of(dropout, method, network, self.encoders)
        self._hook: RemovableHandle | None = None  # on the optimizer, while training
        self._is_open = False  # between the start of an update and its end
        self._is_begun = False  # whether the method saw a training of this balancer begin
        self._in_epoch = False  # always, in a training whose method is told of no epochs
        self._capture = Capture(self.encoders, network, self._changed)
        self._scores = MeanScores()
        if method.needs_own_encoders or self.classifiers or self.masking.dropout is not None:
            fitting.check_apart(self.encoders)

    @property
    def dropout_rates(self) -> dict[str, float]:
        """Probability that training drops each modality, by the dropout or by the method itself."""
        return self.masking.rates() or dict.fromkeys(self.encoders, self.method.drops)

    def parameter_groups(
        self, *, lr: float, classifier_lr: float | None = None
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer of network and classifiers, each with its rate."""
        return parameter_groups(
            self.network,
            self.classifiers or None,
            lr=lr,
            classifier_lr=classifier_lr,
            encoders=self.encoders,
        )

    def epochs(
        self,
        count: int,
        batches: Any = None,
        *,
        prepare_batch: Callable[..., Any] = prepare_modalities,
        first: int = 1,
    ) -> Iterator[int]:
        """Go through the epochs of a training, from 1, and tell the method of each.

        Args:
            count: the last epoch.
            batches: see :meth:`start`, which has ``prepare_batch`` too.
            first: where a training is resumed, the epoch to go on with.
        """
        self.start(count, batches, prepare_batch=prepare_batch, epoch=first - 1)
        try:
            for epoch in range(first, count + 1):
                self.begin_epoch(epoch)
                yield epoch
                self.end_epoch()
        finally:
            self.stop()

    def start(
        self,
        epochs: int | None = None,
        batches: Any = None,
        *,
        prepare_batch: Callable[..., Any] = prepare_modalities,
        epoch: int = 0,
        compiled: bool = False,
    ) -> None:
        """Begin a training; in a loop without epochs the first ``capture`` does so.

        Args:
            epochs: how many there will be; None when the method is not told of epochs.
            batches: the loader of the training data, for methods that read parts of them.
            prepare_batch: (batch, device, non_blocking) to (inputs, label), for such methods.
            epoch: the last one that is done, 0 for none.
            compiled: that ``torch.compile`` runs the network, to be refused now if at all.

        Raises:
            ValueError: the method needs more than it is given, has trained with another balancer,
                or the optimizer does not fit.
        """
        self.stop()  # what an interrupted training left behind
        optimizer = fitting.optimizer_of(self.optimizer, self.classifiers)
        fitting.check_loop(self.method, epochs, batches, self.masking.ramp_epochs)
        if compiled:
            fitting.check_compiled(self.method)
        run = Run(
            network=self.network,
            encoders=self.encoders,
            classifiers=self.classifiers,
            task=self.task,
            optimizer=optimizer,
            batches=batches,
            prepare_batch=prepare_batch,
            device=next(chain(self.network.parameters(), parameters_of(optimizer))).device,
            epochs=1 if epochs is None else epochs,
            epoch=1 if epochs is None else epoch,  # a loop without epochs is one epoch
        )
        for classifier in self.classifiers.values():
            make_alike(classifier.to(run.device))
        if not self._is_begun:
            fitting.check_new(self.method)
        self.method.prepare(run)
        fitting.note_begun(self.method)
        self._run, self._is_begun, self._in_epoch = run, True, epochs is None
        self._hook = optimizer.register_step_pre_hook(self._refuse_unmodulated)

    def begin_epoch(self, epoch: int) -> None:
        """Tell the method that an epoch begins; its number counts from 1."""
        self._scores.restart()
        if self._run is not None:
            self._run.epoch, self._in_epoch = epoch, True
            self.method.epoch_begins(self._run)

    def end_epoch(self) -> None:
        """Tell the method that the epoch ended."""
        if self._run is not None:
            self._in_epoch = False
            self.method.epoch_ends(self._run)

    def stop(self) -> None:
        """End a training: whatever was changed for a step is undone."""
        self._capture.end()
        self._capture.forget()
        self.finish_update()
        self._run = None
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def capture(self) -> Capture:
        """Context for the network's pass; a trainer with events calls its ``begin`` and ``end``.

        Raises:
            RuntimeError: `start` was told of epochs, and none is under way.
        """
        if self._run is None:
            self.start()
        elif not self._in_epoch:
            raise RuntimeError(
                "balancer.start was told of epochs, and none is under way: call "
                "balancer.begin_epoch(number) at the start of each, from 1, and "
                "balancer.end_epoch() at its end"
            )
        return self._capture

    def loss(
        self,
        prediction: Tensor,
        label: Tensor,
        task_loss: Tensor | None = None,
        *,
        ids: Sequence[str] | None = None,
        last: bool = True,
    ) -> Tensor:
        """Form the loss to back-propagate, of network and classifiers.

        Args:
            prediction: what the network gave within ``capture``.
            label: the truth.
            task_loss: the task's loss, a scalar, where it was formed before.
            ids: of the samples, for methods that remember them.
            last: whether an optimizer step follows; False leaves out the record's cosines.

        Returns:
            A scalar. With gradient accumulation divide it by the number of micro-batches.

        Raises:
            RuntimeError: the network did not run within ``capture``, or gradients are off.
            TypeError: prediction or label is no tensor.
            ValueError: ``torch.compile`` runs it, and the method differentiates a gradient.
        """
        if self._run is None:
            raise RuntimeError(
                "no batch was captured: call the network within `with balancer.capture():`"
            )
        if not (self._capture.features or self._capture.predictions):
            raise RuntimeError(
                "no encoder was heard in the forward pass: call the network within `with "
                "balancer.capture():`, its encoders as modules, encoder(x). A network that "
                "torch.compile runs has to be called so the first time, too; call "
                "torch.compiler.reset() where it was called before"
            )
        fitting.check_prediction(prediction, label)
        if self._capture.is_compiled:
            fitting.check_compiled(self.method)
        step = Step(
            run=self._run,
            head=self.head,
            task_loss=self.task.loss(prediction, label).mean() if task_loss is None else task_loss,
            prediction=prediction,
            label=label,
            inputs=self._capture.inputs,
            features=self._capture.features,
            seen=self._capture.seen,
            ids=None if ids is None else list(ids),
            predictions=self._capture.predictions,
            loss_scale=1.0 if self.scaler is None else self.scaler.get_scale(),
        )
        self._capture.forget()
        classify(step, attached=self.method.attached)
        self._scores.add(step)
        loss = self.method.loss(step)
        if last:
            compare_gradients(step)
        if not self.method.attached:
            loss = loss + sum(step.classifier_losses.values())
        self.step = step
        return loss

    @contextmanager
    def modulate(self) -> Iterator[None]:
        """Change gradients, or the coming update, for the step within, see `start_update`."""
        self.start_update()
        try:
            yield
        finally:
            self.finish_update()

    def start_update(self) -> None:
        """Change gradients, or the coming update; RuntimeError where no loss was formed for it."""
        step = self.step
        if step is None or all(p.grad is None for p in parameters_of(step.optimizer)):
            raise RuntimeError(
                "there is nothing to modulate: call balancer.loss(prediction, label) and "
                "back-propagate it before every step"
            )
        self._is_open = True
        step.gradient_scale = 1.0 if is_unscaled(self.scaler, step.optimizer) else step.loss_scale
        for classifier in self.classifiers.values():
            average_gradients(classifier)
        norms = [gradient_norm(e).to(step.task_loss.device) for e in self.encoders.values()]
        self.method.gradients(step)
        more = self.method.record() | self.masking.record()
        self.record = record_of(step, torch.stack(norms) / step.gradient_scale, more)

    def finish_update(self) -> None:
        """Undo what was changed for the update alone."""
        if self.step is not None:
            self.method.stepped(self.step)
        self.step, self._is_open = None, False
        self._scores.restart()

    def _refuse_unmodulated(self, *_: object) -> None:
        """Of the optimizer's step: RuntimeError where a loss was formed and nothing modulated."""
        if self.step is not None and not self._is_open:
            raise RuntimeError(
                "optimizer.step() was called outside of `with balancer.modulate():`, so "
                f"{type(self.method).__name__} would change nothing: put the step within"
            )

    def state_dict(self) -> dict[str, Any]:
        """The method's name and what it remembers, and how far the dropout's draws are."""
        name = {fitting.METHOD: type(self.method).__name__}
        return name | self.method.state_dict() | self.masking.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned; ValueError where it is of another method."""
        state = self.masking.load_state_dict(state)
        self.method.load_state_dict(fitting.own_state(self.method, state))

    def _changed(self, name: str, feature: Feature) -> Feature:
        if (run := self._run) is None:
            return feature
        run.available = run.left = self._capture.available
        feature = self.method.feature(name, feature, run)
        return self.masking(name, feature, run, first=not self._capture.seen)
