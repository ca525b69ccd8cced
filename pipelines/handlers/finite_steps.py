"""Optimizer steps whose gradients are not finite, left out and named."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer
from torch.nn.utils import get_total_norm

from ...data.errors import InputError, some
from ..balancing.batches import ids_of
from .accumulation import step_begins, step_is_due, unscale
from .checkpoint_file import is_finite
from .progress import say


class FiniteSteps:
    """Handler that leaves out a step whose gradients hold NaN or infinity, and says of which cases.

    One such step would make every weight NaN. Momentum, weight decay and weights stay as they are.
    Put it after the handlers that change gradients (modulation), before clipping. Under mixed
    precision with a loss scale, overflows are normal at first: the scaler leaves these steps out
    itself, and here they are only counted.

    Args:
        network: its weights and running statistics are looked at when a step is left out.
        limit: so many steps in a row end the training.
    """

    def __init__(self, network: torch.nn.Module, *, limit: int = 10) -> None:
        self.network, self.limit = network, limit
        self.left_out = 0
        self._in_a_row = 0
        self._cases: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def _start(self, _: SupervisedTrainer) -> None:
        self.left_out = self._in_a_row = 0

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Look at the gradients, when this batch ends with an optimizer step.

        Raises:
            InputError: too many steps in a row, or the network itself is not finite any more.
        """
        if step_begins(engine):
            self._cases = []
        # Of several batches, those with a loss that is not finite are to blame.
        if not torch.isfinite(engine.state.output["loss"]):
            self._cases += ids_of(engine.state.batch) or []
        if not step_is_due(engine):
            return
        unscale(engine)
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"]]
        if torch.isfinite(get_total_norm([p.grad for p in parameters if p.grad is not None])):
            self._in_a_row = 0
            return
        self.left_out += 1
        self._in_a_row += 1
        cases = some(dict.fromkeys(self._cases or ids_of(engine.state.batch) or []))
        where = f"step {engine.state.iteration} (epoch {engine.state.epoch})"
        where += f", of {cases}" if cases else ""
        self._check(where, engine.state.epoch)
        if engine.scaler is None or not engine.scaler.is_enabled():
            say(f"{where}: gradients are NaN or infinite, the step is left out")
            engine.optimizer.zero_grad(set_to_none=True)

    def _check(self, where: str, epoch: int) -> None:
        """Refuse to go on where it leads to nothing."""
        remedy = (
            "look at these cases, train with a lower learning rate (--lr), or clip gradients "
            "(--max_norm)"
        )
        if epoch > 1:
            remedy += (
                f"; resume=True (--resume True on the command line) goes on after epoch {epoch - 1}"
            )
        if not is_finite(self.network.state_dict()):
            raise InputError(
                f"{where}: the network's weights or running statistics are NaN or infinite, and "
                f"nothing of this epoch is saved: {remedy}"
            )
        if self._in_a_row >= self.limit:
            raise InputError(
                f"{where}: the gradients of {self._in_a_row} steps in a row are NaN or infinite: "
                f"{remedy}"
            )
