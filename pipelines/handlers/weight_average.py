"""The moving average of a network's weights over the steps of a training."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .accumulation import step_is_due


class WeightAverage:
    """Handler that keeps an exponential moving average of the weights: what is judged and used.

    After each optimizer step a <- decay a + (1 - decay) w; after the first, a = w. The running
    statistics of batch normalization are averaged likewise, so that they are those of such weights.
    Training itself does not see the average.

    Args:
        network: the one that is trained, without a wrapper, on its device.
        decay: above 0 and below 1; the average is over about 1 / (1 - decay) steps.

    Raises:
        ValueError: the decay is out of range.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(
                f"decay is {decay}; it is a number above 0 and below 1, such as 0.99 (without an "
                "average leave the handler out)"
            )
        self._trained = network
        average = get_ema_multi_avg_fn(decay)
        self._average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights."""
        return self._average.module

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register at the trainer's steps."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    def _update(self, engine: SupervisedTrainer) -> None:
        if step_is_due(engine):
            self._average.update_parameters(self._trained)

    def state_dict(self) -> dict[str, Any]:
        """The weights that are trained, and how many steps are averaged.

        The averaged ones are the network that a checkpoint is about.
        """
        return {"trained": self._trained.state_dict(), "steps": int(self._average.n_averaged)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take both back."""
        self._trained.load_state_dict(state["trained"])
        self._average.n_averaged.copy_(torch.tensor(state["steps"]))
