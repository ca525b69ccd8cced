"""A trained network to go on with on other cases: its weights, its dropout, its patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from ...data.files import digest_of
from ..handlers.checkpoint_file import TRAINED_ON, load_network
from ..handlers.weight_average import WeightAverage
from .trained import trained_settings, weights_in

DROPOUT = 0.5  # of a training that begins with nothing


class FineTuning:
    """What a training begins with: nothing, or a trained network.

    Args:
        init: output folder of a training, the folder ``models`` in it, or the weights; None begins
            with nothing.
        sequences: of the training.

    Raises:
        InputError: there are no weights, or nothing says how their network was built.
    """

    def __init__(self, init: str | Path | None, sequences: Sequence[str]) -> None:
        self.weights = None if init is None else weights_in(init)
        self._trained = {} if self.weights is None else trained_settings(self.weights)
        usual = DROPOUT if len(sequences) > 1 and init is None else 0.0
        rates: Mapping[str, float] = self._trained.get("modality_dropout") or {}
        self._rates = {name: rates.get(name, usual) for name in sequences}

    @property
    def dropout(self) -> float:
        """Rate of modality dropout: the network's, 0.5 without one; the largest of several."""
        return max(self._rates.values(), default=0.0)

    @property
    def missing(self) -> dict[str, float] | None:
        """The rates of sequences that were dropped less often; None where all are alike."""
        return {name: rate for name, rate in self._rates.items() if rate != self.dropout} or None

    @property
    def trained_on(self) -> list[str]:
        """Digests of the patients that the network was trained on."""
        return list(self._trained.get(TRAINED_ON, ()))

    def digest(self) -> str | None:
        """Digest of the weights; None without."""
        return None if self.weights is None else digest_of(self.weights)


class StartingWeights:
    """Handler that fills the network when training starts, before a checkpoint is taken up.

    Args:
        start: whose weights.
        network: that is trained, without a wrapper.
        average: of its weights, which begins with them too.
        description: what the network is, by the names of the settings.
    """

    def __init__(
        self,
        start: FineTuning,
        network: nn.Module,
        *,
        average: WeightAverage | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.start = start
        self.networks = [network] if average is None else [network, average.network]
        self.description = description

    def attach(self, engine: Engine) -> None:
        """Register at the start of the trainer."""
        engine.add_event_handler(Events.STARTED, self._load)

    def _load(self, _: Engine) -> None:
        """Refuse weights of another network, with the settings that differ; else load them."""
        if self.start.weights is None:
            return
        for network in self.networks:
            load_network(self.start.weights, network, description=self.description)
