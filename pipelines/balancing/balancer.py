"""One network, one method and one optimizer in a training loop of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .batches import prepare_modalities
from .capture import Capture
from .distributed import average_gradients, broadcast, summed_over_ranks
from .features import Feature, detached
from .fitting import check_batches, check_needs, check_optimized, classifiers_of, head_of
from .gradients import cosines, gradient_norm
from .method import Method, Run, Step, last_weight
from .optimization import encoders_of, parameter_groups
from .tasks import Task, scores_of, task_by_score

FUSION = "fusion"  # the whole network, beside its modalities, in the record
Record = dict[str, dict[str, float]]


class Balancer:
    """Lets a method see and change each step of a training loop.

    ::

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

    It owns what every method needs: the encoders' features, the classifiers' losses on them
    (detached, so that they train nothing but the classifiers), the scores over all micro-batches
    and ranks, and a record of what happened. To accumulate gradients, repeat ``capture``, ``loss``
    and ``backward`` before one ``modulate``. Clip gradients inside ``modulate``, before the step.
    With several processes only the network is wrapped in DistributedDataParallel, and called so;
    the balancer gets the bare one, keeps the classifiers alike and sums the scores.

    After every optimizer step ``record`` holds plain floats: ``record["balance"]["flair"]``, and
    likewise score, improvement, gradient_norm (before modulation), cosine (between the network's
    and the classifier's last-layer gradients) and the classifier's loss on the last batch. Score
    and loss have the entry ``"fusion"`` too: the network's own.

    Args:
        method: what to run; ``Joint()`` changes nothing and only records.
        network: the network, not wrapped; its ``encoders`` map a modality's name to a module and
            its ``head`` is the last layer.
        task: loss and scores, and what else a method may ask.
        classifiers: one module per modality that turns the encoder's output into a prediction;
            their last layer, called ``head`` (or the module itself), has the network head's shape.
        loss: instead of a task, (prediction, label) to the mean loss of a batch.
        scores: beside ``loss``, the name of a score or a function, larger is better; see
            :func:`cggm.pipelines.balancing.tasks.task_by_score`.
        optimizer: of network and classifiers; may also be set later, before the first batch.
        scaler: the gradient scaler of mixed precision, where there is one.
        encoders: instead of ``network.encoders``.
        head: instead of ``network.head``.

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
    ) -> None:
        self.method, self.network = method, network
        self.task = _task(task, loss, scores)
        self.encoders = encoders_of(network, encoders)
        self.head = head_of(method, network, head)
        self.classifiers = classifiers_of(method, self.encoders, self.head, classifiers)
        self.optimizer, self.scaler = optimizer, scaler
        self.record: Record = {}
        self._unread: Record = {}
        self._run: Run | None = None
        self._step: Step | None = None
        self._capture = Capture(self.encoders, network, self._changed)
        self._sums = torch.zeros(0)
        self._step_begins = True  # the next micro-batch is the first of an optimizer step
        self._cosines: Tensor | None = None

    def parameter_groups(
        self, *, lr: float, classifier_lr: float | None = None
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer of network and classifiers.

        Args:
            lr: learning rate of the network.
            classifier_lr: learning rate of the classifiers, ``lr`` when not given.
        """
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
        """Go through the epochs of a training, and tell the method of each.

        Args:
            count: the last epoch.
            batches: the loader of the training data, for methods that read parts of them.
            prepare_batch: (batch, device, non_blocking) to (inputs, label), for such methods.
            first: where a training is resumed, the epoch to go on with.

        Yields:
            The number of the epoch, from 1.

        Raises:
            ValueError: see :meth:`start`.
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
        device: torch.device | None = None,
    ) -> None:
        """Begin a training; without it the first ``capture`` does so, for a loop without epochs.

        Args:
            epochs: how many there will be; None when the method is not told of epochs.
            batches: see :meth:`epochs`.
            prepare_batch: see :meth:`epochs`.
            epoch: the last one that is done, 0 for none.
            compiled: whether ``torch.compile`` runs the network.
            device: where the network is; asked of its parameters when not given.

        Raises:
            ValueError: the method needs more than it is given, or cannot train this network, or
                the optimizer is missing or leaves out the classifiers.
        """
        self.stop()  # what an interrupted training left behind
        if self.optimizer is None:
            raise ValueError(
                "the balancer has no optimizer: pass optimizer=, or set balancer.optimizer = "
                "torch.optim.SGD(balancer.parameter_groups(lr=0.1))"
            )
        check_needs(
            self.method,
            epochs=epochs is not None,
            batches=batches is not None,
            compiled=compiled,
        )
        check_batches(batches)
        check_optimized(self.optimizer, self.classifiers)
        run = Run(
            network=self.network,
            encoders=self.encoders,
            classifiers=self.classifiers,
            task=self.task,
            optimizer=self.optimizer,
            batches=batches,
            prepare_batch=prepare_batch,
            device=device or next(self.network.parameters()).device,
            epochs=1 if epochs is None else epochs,
            epoch=1 if epochs is None else epoch,  # a loop without epochs is one epoch
        )
        for classifier in self.classifiers.values():
            classifier.to(run.device)
            for tensor in [*classifier.parameters(), *classifier.buffers()]:
                broadcast(tensor)
        self.method.prepare(run)
        self._run = run
        self._step_begins = True

    def begin_epoch(self, epoch: int) -> None:
        """Tell the method that an epoch begins; its number counts from 1."""
        self._step_begins = True
        if self._run is not None:
            self._run.epoch = epoch
            self.method.epoch_begins(self._run)

    def end_epoch(self) -> None:
        """Tell the method that the epoch ended."""
        if self._run is not None:
            self.method.epoch_ends(self._run)

    def stop(self) -> None:
        """End a training: whatever was changed for a step is undone."""
        self._capture.end()
        self._capture.forget()
        self.finish_update()
        self._run = None

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Listen to the encoders while the network runs on a batch."""
        self.start_capture()
        try:
            yield
        finally:
            self.stop_capture()

    def start_capture(self) -> None:
        """Listen to the encoders from here on; for trainers with events instead of a context."""
        if self._run is None:
            self.start()
        self._capture.begin()

    def stop_capture(self) -> None:
        """Listen to the encoders no longer."""
        self._capture.end()

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
            last: whether an optimizer step follows. With False for the other micro-batches of a
                step the record's cosines are not computed for nothing.

        Returns:
            A scalar. With gradient accumulation divide it by the number of micro-batches.

        Raises:
            RuntimeError: the network did not run within ``capture``.
        """
        if self._run is None:
            raise RuntimeError(
                "no batch was captured: call the network within `with balancer.capture():`"
            )
        step = Step(
            run=self._run,
            head=self.head,
            task_loss=self.task.loss(prediction, label).mean() if task_loss is None else task_loss,
            prediction=prediction,
            label=label,
            inputs=self._capture.inputs,
            features=self._capture.features,
            ids=None if ids is None else list(ids),
            predictions=self._capture.predictions,
            loss_scale=1.0 if self.scaler is None else self.scaler.get_scale(),
        )
        self._capture.forget()
        self._classify(step)
        self._score(step, step.classifier_predictions or step.predictions)
        loss = self.method.loss(step)
        if last and self._compares():
            # Before the backward pass, which frees the graph these gradients come from.
            fusion = step.fusion_gradient().detach()
            self._cosines = cosines(fusion, step.classifier_gradients())
        if not self.method.attached:
            loss = loss + sum(step.classifier_losses.values())
        self._step = step
        return loss

    @contextmanager
    def modulate(self) -> Iterator[None]:
        """Change gradients, or the coming update, for the optimizer step within.

        Raises:
            RuntimeError: no loss was formed since the last step.
        """
        self.start_update()
        try:
            yield
        finally:
            self.finish_update()

    def start_update(self) -> None:
        """Change gradients, or the coming update; for trainers with events instead of a context."""
        step = self._step
        if step is None:
            raise RuntimeError(
                "there is nothing to modulate: call balancer.loss(prediction, label) and "
                "back-propagate it before every step"
            )
        for classifier in self.classifiers.values():
            average_gradients(classifier)
        norms = [gradient_norm(e).to(step.task_loss.device) for e in self.encoders.values()]
        self.method.gradients(step)
        self.record = self._unread = self._record(step, torch.stack(norms) / step.loss_scale)

    def finish_update(self) -> None:
        """Undo what was changed for the update alone; the next batch begins a new step."""
        if self._step is not None:
            self.method.stepped(self._step)
        self._step = None
        self._step_begins = True

    def take_record(self) -> Record:
        """Give the record of the step that just ended, once; empty while gradients accumulate."""
        record, self._unread = self._unread, {}
        return record

    @property
    def step(self) -> Step | None:
        """The batch at hand, from its loss to the end of its update; None in between."""
        return self._step

    @property
    def extension(self) -> str:
        """What to say behind the method's name of a training that its paper does not have."""
        more = self.method.beyond_paper(self.task.kind, len(self.encoders))
        return f", in our extension to {more}, which its paper does not have" if more else ""

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers from step to step."""
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.method.load_state_dict(state)

    def _changed(self, name: str, feature: Feature) -> Feature:
        return feature if self._run is None else self.method.feature(name, feature, self._run)

    def _compares(self) -> bool:
        """Whether the last layers of network and classifiers have gradients to compare."""
        if not self.classifiers or self.head is None:
            return False
        return last_weight(self.head).requires_grad

    def _classify(self, step: Step) -> None:
        for name, classifier in self.classifiers.items():
            if name not in step.features:
                raise RuntimeError(
                    f"the encoder of {name!r} was not called in this forward pass: "
                    "call it as a module, encoder(x), for every batch"
                )
            classifier.train()
            feature = step.features[name]
            prediction = classifier(feature if self.method.attached else detached(feature))
            step.classifier_predictions[name] = prediction
            step.classifier_losses[name] = self.task.loss(prediction, step.label).mean()

    def _score(self, step: Step, predictions: Mapping[str, Tensor]) -> None:
        """Epsilon of each modality over all samples of this step so far, on all ranks."""
        if self._step_begins:
            self._sums = torch.zeros(len(self.encoders) + 2)
            self._step_begins = False
        if not predictions:
            return
        label = step.label
        judged = [*(predictions[name] for name in step.modalities), step.prediction]
        sums = [scores_of(self.task, prediction, label).sum() for prediction in judged]
        sums.append(torch.as_tensor(float(label.shape[0])).to(sums[0]))
        self._sums = self._sums.to(sums[0]) + summed_over_ranks(torch.stack(sums))
        step.scores = self._sums[:-2] / self._sums[-1]

    def _record(self, step: Step, norms: Tensor) -> Record:
        values = {"gradient_norm": norms}
        fusion: dict[str, Tensor] = {}  # what the whole network has in common with a classifier
        if len(step.scores):
            values["score"] = step.scores
            fusion["score"] = self._sums[-2:-1] / self._sums[-1]
        if self._cosines is not None:
            values["cosine"] = self._cosines
        if step.classifier_losses:
            losses = [step.classifier_losses[name].detach() for name in step.modalities]
            values["loss"] = torch.stack(losses)
            fusion["loss"] = step.task_loss.detach().reshape(1)
        values |= self.method.record()
        rows = [value.to(norms) for value in [*values.values(), *fusion.values()]]
        # One transfer from the device for all.
        table = [part.tolist() for part in torch.cat(rows).split([len(row) for row in rows])]
        record = {
            name: dict(zip(step.modalities, row, strict=True))
            for name, row in zip(values, table, strict=False)
        }
        for name, row in zip(fusion, table[len(values) :], strict=True):
            record[name][FUSION] = row[0]
        return record


def _task(
    task: Task | None,
    loss: Callable[[Tensor, Tensor], Tensor] | None,
    scores: str | Callable[[Tensor, Tensor], Tensor] | None,
) -> Task:
    if task is not None and loss is None and scores is None:
        return task
    if task is not None or loss is None or scores is None:
        raise ValueError(
            "the loss and the scores are told once: pass a task, or loss= and scores= together"
        )
    return task_by_score(loss, scores)
