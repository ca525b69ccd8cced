"""One network for the validation of several processes."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

from ..balancing.distributed import broadcast


class SameBuffers:
    """Handler for an evaluator: every process judges with the running statistics of the first.

    In training each process moves those of its own batches; the first one's are saved.

    Args:
        network: as each process trains it, without a wrapper.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's start."""
        engine.add_event_handler(Events.STARTED, self._copy)

    def _copy(self, _: Engine) -> None:
        for buffer in self.network.buffers():
            broadcast(buffer)
