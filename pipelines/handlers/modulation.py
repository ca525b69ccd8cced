"""Run a balancing method inside MONAI's SupervisedTrainer, without a subclass of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer
from torch import Tensor, nn

from ..balancing.distributed import average_gradients, broadcast, summed_over_ranks
from ..balancing.features import detached
from ..balancing.measures import gradient_norm, ids_of, scores_of
from ..balancing.method import Method, Run, Step, last_weight
from ..balancing.optimization import encoders_of
from ..balancing.parts import check_batches, check_optimized, classifiers_of, head_of
from ..balancing.tasks import Task
from ..balancing.watch import Watch
from ..methods.cggm import cosines
from .accumulation import step_begins, step_is_due

FUSION = "fusion"  # the whole network, beside its modalities, in the record


class Modulation:
    """Engine handler that lets a method see and change each training step.

    It owns what every method needs: the encoders' features, the classifiers' losses on them
    (detached, so that they train nothing but the classifiers), the scores over all micro-batches
    and ranks, and a record of what happened. Put it before a gradient clipping handler in the
    trainer's list. The classifiers' parameters belong in the trainer's optimizer, see
    :func:`cggm.pipelines.balancing.parameter_groups`.

    After every optimizer step ``record`` holds plain floats: ``record["balance"]["flair"]``, and
    likewise score, improvement, gradient_norm (before modulation), cosine (between the network's
    and the classifier's last-layer gradients) and the classifier's loss on the last batch. Score
    and loss have the entry ``"fusion"`` too: the network's own.

    Args:
        method: what to run; ``Joint()`` changes nothing and only records.
        network: the network, not wrapped in DistributedDataParallel; its ``encoders`` map a
            modality's name to a module and its ``head`` is the last layer.
        task: loss and score.
        classifiers: one module per modality that turns the encoder's output into a prediction;
            their last layer, called ``head`` (or the module itself), has the network head's shape.
        encoders: instead of ``network.encoders``.
        head: instead of ``network.head``.

    Raises:
        ValueError: modules do not fit together.
    """

    def __init__(
        self,
        method: Method,
        network: nn.Module,
        task: Task,
        classifiers: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        head: nn.Module | None = None,
    ) -> None:
        self.method = method
        self.network = network
        self.task = task
        self.encoders = encoders_of(network, encoders)
        self.head = head_of(method, network, head)
        self.classifiers = classifiers_of(method, self.encoders, self.head, classifiers)
        self.record: dict[str, dict[str, float]] = {}
        self._unread: dict[str, dict[str, float]] = {}
        self._run: Run | None = None
        self._watch: Watch | None = None
        self._sums = torch.zeros(0)
        self._cosines: Tensor | None = None
        self._step: Step | None = None

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register at the trainer's events; called by MONAI for the handlers of a trainer.

        Raises:
            InputError: the trainer's loader gives no batch; MONAI would only warn.
        """
        check_batches(engine.data_loader)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_begins)
        engine.add_event_handler(Events.ITERATION_STARTED, self._listen)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._stop_listening)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._loss_completed)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._backward_completed)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._model_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_ends)
        engine.add_event_handler(Events.COMPLETED | Events.TERMINATE, self._finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def take_record(self) -> dict[str, dict[str, float]]:
        """Give the record of the step that just ended, once; empty while gradients accumulate."""
        record, self._unread = self._unread, {}
        return record

    @property
    def extension(self) -> str:
        """What to say behind the method's name of a training that its paper does not have."""
        more = self.method.beyond_paper(self.task.kind, len(self.encoders))
        return f", in our extension to {more}, which its paper does not have" if more else ""

    @property
    def step(self) -> Step | None:
        """The batch at hand, from its loss to the end of its update; None in between."""
        return self._step

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers from step to step."""
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.method.load_state_dict(state)

    def _start(self, engine: SupervisedTrainer) -> None:
        self._finish(engine)  # what an interrupted run left behind
        self._run = Run(
            network=self.network,
            encoders=self.encoders,
            classifiers=self.classifiers,
            task=self.task,
            optimizer=engine.optimizer,
            batches=engine.data_loader,
            prepare_batch=engine.prepare_batch,
            device=engine.state.device,
            epochs=int(engine.state.max_epochs),
            epoch=int(engine.state.epoch),
        )
        if engine.compile and getattr(self.method, "direction", None) == "gradient":
            raise ValueError(
                "direction='gradient' differentiates a gradient, which torch.compile cannot: "
                "use direction='none' or train with compile=False"
            )
        check_optimized(engine.optimizer, self.classifiers)
        for classifier in self.classifiers.values():
            classifier.to(engine.state.device)
            for tensor in [*classifier.parameters(), *classifier.buffers()]:
                broadcast(tensor)
        self.method.prepare(self._run)
        self._watch = Watch(self.encoders, self.network, self._changed)

    def _changed(self, name: str, feature: Any) -> Any:
        return feature if self._run is None else self.method.feature(name, feature, self._run)

    def _epoch_begins(self, engine: SupervisedTrainer) -> None:
        if self._run is not None:
            self._run.epoch = int(engine.state.epoch)
            self.method.epoch_begins(self._run)

    def _epoch_ends(self, _: SupervisedTrainer) -> None:
        if self._run is not None:
            self.method.epoch_ends(self._run)

    def _listen(self, _: SupervisedTrainer) -> None:
        self._end_step()  # one that an error cut off
        if self._watch is not None:
            self._watch.begin()

    def _stop_listening(self, _: SupervisedTrainer) -> None:
        if self._watch is not None:
            self._watch.end()

    def _loss_completed(self, engine: SupervisedTrainer) -> None:
        output = engine.state.output
        if self._run is None or self._watch is None:
            return
        if step_begins(engine):
            self._sums = torch.zeros(len(self.encoders) + 2)
        step = Step(
            run=self._run,
            head=self.head,
            task_loss=output["loss"],
            prediction=output["pred"],
            label=output["label"],
            inputs=self._watch.inputs,
            features=self._watch.features,
            ids=ids_of(engine.state.batch),
            predictions=self._watch.predictions,
            loss_scale=engine.scaler.get_scale() if engine.scaler is not None else 1.0,
        )
        self._watch.forget()
        if self.classifiers:
            self._classify(step)
        self._score(step, step.classifier_predictions or step.predictions)
        # A number beside the sum, so that logs can show what the task alone costs.
        output["task_loss"] = step.task_loss.detach()
        loss = self.method.loss(step)
        if self._compares() and step_is_due(engine):
            # Before the backward pass, which frees the graph these gradients come from.
            fusion = step.fusion_gradient().detach()
            self._cosines = cosines(fusion, step.classifier_gradients())
        if not self.method.attached:
            loss = loss + sum(step.classifier_losses.values())
        output["loss"] = loss
        self._step = step

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
        if not predictions:
            return
        label = step.label
        judged = [*(predictions[name] for name in step.modalities), step.prediction]
        sums = [scores_of(self.task, prediction, label).sum() for prediction in judged]
        sums.append(torch.as_tensor(float(label.shape[0])).to(sums[0]))
        self._sums = self._sums.to(sums[0]) + summed_over_ranks(torch.stack(sums))
        step.scores = self._sums[:-2] / self._sums[-1]

    def _backward_completed(self, engine: SupervisedTrainer) -> None:
        step = self._step
        if step is None or not step_is_due(engine):
            return
        for classifier in self.classifiers.values():
            average_gradients(classifier)
        norms = [gradient_norm(e).to(step.task_loss.device) for e in self.encoders.values()]
        self.method.gradients(step)
        self._note(step, torch.stack(norms) / step.loss_scale)
        self._unread = self.record

    def _note(self, step: Step, norms: Tensor) -> None:
        values = {"gradient_norm": norms}
        if len(step.scores):
            values["score"] = step.scores
        if self._cosines is not None:
            values["cosine"] = self._cosines
        if step.classifier_losses:
            losses = [step.classifier_losses[name].detach() for name in step.modalities]
            values["loss"] = torch.stack(losses)
        values |= self.method.record()
        fusion = self._of_fusion(step)
        rows = [value.to(norms) for value in [*values.values(), *fusion.values()]]
        table = [part.tolist() for part in torch.cat(rows).split([len(row) for row in rows])]
        self.record = {
            name: dict(zip(step.modalities, row, strict=True))
            for name, row in zip(values, table, strict=False)
        }
        for name, row in zip(fusion, table[len(values) :], strict=True):
            self.record[name][FUSION] = row[0]

    def _of_fusion(self, step: Step) -> dict[str, Tensor]:
        """What the whole network has in common with a classifier, shape (1,) each."""
        found = {"score": self._sums[-2:-1] / self._sums[-1]} if len(step.scores) else {}
        return found | (
            {"loss": step.task_loss.detach().reshape(1)} if step.classifier_losses else {}
        )

    def _model_completed(self, engine: SupervisedTrainer) -> None:
        if step_is_due(engine):
            self._end_step()
        self._step = None

    def _end_step(self) -> None:
        if self._step is not None:
            self.method.stepped(self._step)
        self._step = None

    def _finish(self, _: SupervisedTrainer) -> None:
        self._end_step()
        if self._watch is not None:
            self._watch.remove()
            self._watch = None

    def _fail(self, engine: SupervisedTrainer, error: BaseException) -> None:
        """Clean up, and pass the error on: with a handler for it ignite does not raise it."""
        self._finish(engine)
        # Others, such as StatsHandler, raise it themselves; those behind this one shall be asked.
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error


def listed(handler: Any) -> Any:
    """Return the handler: for a bundle that lists a handler it also refers to by name.

    MONAI's tools want every entry of a list of handlers to be a component of its own.
    """
    return handler
