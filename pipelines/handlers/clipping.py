"""Clipping of large gradients before the optimizer step."""

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents, SupervisedTrainer

from .accumulation import step_is_due, unscale


class GradientClipping:
    """Handler that limits the norm of a network's gradients before each optimizer step.

    Put it after the handlers that change gradients (modulation) in the list of the trainer:
    handlers of one event run in that order. The paper clips at 0.8 (Table 7); that it is after
    modulation, and without the classifiers, is the order of the released code.

    Args:
        network: the module whose parameters share one norm; the members of a late fusion, which
            are trained apart, have a norm each.
        max_norm: largest Euclidean norm over all its gradients, positive.

    Raises:
        ValueError: `max_norm` is not positive.
    """

    def __init__(self, network: torch.nn.Module, *, max_norm: float) -> None:
        if not max_norm > 0:
            raise ValueError(
                f"the largest gradient norm is {max_norm}; it must be positive "
                "(leave the handler out to train without clipping)"
            )
        self.network = network
        self.max_norm = float(max_norm)

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Clip, when this batch ends with an optimizer step.

        Under mixed precision an overflow leaves infinite gradients; the scaler has seen them in
        `unscale` and skips the step, whatever clipping makes of them.
        """
        if not step_is_due(engine):
            return
        unscale(engine)
        members = getattr(self.network, "members", None)
        for part in [self.network] if members is None else members.values():
            torch.nn.utils.clip_grad_norm_(part.parameters(), self.max_norm)
