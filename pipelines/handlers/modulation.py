"""A balancing method inside MONAI's SupervisedTrainer, without a subclass of it."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer

from ..balancing.balancer import Balancer
from ..balancing.batches import ids_of
from ..balancing.fitting import check_batches
from ..balancing.record import FUSION
from .accumulation import step_is_due

__all__ = ["FUSION", "Modulation", "listed"]


class Modulation(Balancer):
    """Engine handler that lets a method see and change each training step.

    It is a :class:`Balancer` that hears the events of the trainer, and takes from the trainer its
    optimizer, scaler, epochs and data. Put it before a gradient clipping handler in the trainer's
    list. The classifiers' parameters belong in the trainer's optimizer:
    ``torch.optim.SGD(modulation.parameter_groups(lr=0.1))``.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register at the trainer's events; called by MONAI for the handlers of a trainer.

        Raises:
            ValueError: the trainer's loader gives no batch; MONAI would only warn.
        """
        check_batches(engine.data_loader)
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_STARTED, self._iteration_started)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._forward_completed)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._loss_completed)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._backward_completed)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._model_completed)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.COMPLETED | Events.TERMINATE, self._ended)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    @property
    def extension(self) -> str:
        """What to say behind the method's name of a training that its paper does not have."""
        more = self.method.beyond_paper(self.task.kind, len(self.encoders))
        return f", in our extension to {more}, which its paper does not have" if more else ""

    def _started(self, engine: SupervisedTrainer) -> None:
        self.optimizer = engine.optimizer
        self.start(
            int(engine.state.max_epochs),
            engine.data_loader,
            prepare_batch=engine.prepare_batch,
            epoch=int(engine.state.epoch),
            compiled=bool(engine.compile),
        )

    def _epoch_started(self, engine: SupervisedTrainer) -> None:
        self.begin_epoch(int(engine.state.epoch))

    def _iteration_started(self, _: SupervisedTrainer) -> None:
        self._heard = False
        self.capture().begin()

    def _forward_completed(self, _: SupervisedTrainer) -> None:
        self.capture().end()

    def _loss_completed(self, engine: SupervisedTrainer) -> None:
        self._heard = True
        self.scaler = engine.scaler
        output = engine.state.output
        # A number beside the sum, so that logs can show what the task alone costs.
        output["task_loss"] = output["loss"].detach()
        output["loss"] = self.loss(
            output["pred"],
            output["label"],
            output["loss"],
            ids=ids_of(engine.state.batch),
            last=step_is_due(engine),
        )

    def _backward_completed(self, engine: SupervisedTrainer) -> None:
        if step_is_due(engine):
            self.start_update()

    def _model_completed(self, engine: SupervisedTrainer) -> None:
        if step_is_due(engine):
            self.finish_update()

    def _iteration_completed(self, _: SupervisedTrainer) -> None:
        if not self._heard:
            raise ValueError(
                "the trainer's iteration_update fires no IterationEvents.LOSS_COMPLETED, so "
                "Modulation never acts: leave iteration_update out (to accumulate gradients pass "
                "accumulation_steps), or use a Balancer inside the update of your own"
            )

    def _epoch_completed(self, _: SupervisedTrainer) -> None:
        self.end_epoch()

    def _ended(self, _: SupervisedTrainer) -> None:
        self.stop()

    def _failed(self, engine: SupervisedTrainer, error: BaseException) -> None:
        """Clean up, and pass the error on: with a handler for it ignite does not raise it."""
        self.stop()
        # Others, such as StatsHandler, raise it themselves; those behind this one shall be asked.
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error


def listed(handler: Any) -> Any:
    """Return the handler: for a bundle that lists a handler it also refers to by name.

    MONAI's tools want every entry of a list of handlers to be a component of its own.
    """
    return handler
