"""A modality dropout in a training: a draw for each forward pass, masks for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .capture import Capture
from .features import Feature, batch_size, masked
from .modality_dropout import ModalityDropout

# The name of the dropout's state, beside what a method remembers.
_STATE = "modality_dropout"


class Masking:
    """Masks what the fusion sees, by a dropout or not at all.

    Args:
        dropout: draws; None masks nothing.
        modalities: the network's, in order.
    """

    def __init__(self, dropout: ModalityDropout | None, modalities: Sequence[str]) -> None:
        self.dropout, self.modalities = dropout, list(modalities)
        self.ramp_epochs = 0 if dropout is None else dropout.ramp_epochs
        self._kept = self._available = torch.ones(0, len(self.modalities), dtype=torch.bool)

    def __call__(self, modality: str, feature: Feature, capture: Capture, epoch: int) -> Feature:
        """Give what the fusion sees of a modality's feature.

        Args:
            modality: whose.
            feature: of the samples of the batch, or of those only that have the modality.
            capture: of the forward pass, which knows which modalities each sample has.
            epoch: from 1.

        Raises:
            RuntimeError: encoders gave features of another number of samples.
        """
        if self.dropout is None:
            return feature
        if not capture.seen:  # the first encoder of this pass
            self._draw(self.dropout, feature, capture.available, epoch)
        index, size = self.modalities.index(modality), batch_size(feature)
        rows = torch.arange(len(self._kept))
        if size != len(rows):
            rows = rows[self._available[:, index]]
        if size != len(rows):
            raise RuntimeError(
                f"the encoder of {modality!r} gave features of {size} samples, others of "
                f"{len(self._kept)}: modality dropout needs all encoders to see the whole batch"
            )
        return masked(feature, self._kept[rows, index])

    def _draw(
        self, dropout: ModalityDropout, feature: Feature, available: Tensor | None, epoch: int
    ) -> None:
        if available is None:
            available = torch.ones(batch_size(feature), len(self.modalities), dtype=torch.bool)
        # What to make of a sample that has nothing at all is the network's matter.
        self._available = available.cpu() | ~available.cpu().any(1, keepdim=True)
        size = len(self._available)
        self._kept = dropout.draw(size, self.modalities, epoch=epoch, available=self._available)

    def rates(self) -> dict[str, float]:
        """Probability that each modality is dropped."""
        return {} if self.dropout is None else self.dropout.rates(self.modalities)

    def record(self) -> dict[str, Tensor]:
        """Share of the samples of which the fusion saw a modality, in the last micro-batch."""
        return {} if self.dropout is None else {"kept": self._kept.float().mean(0)}

    def state_dict(self) -> dict[str, Any]:
        """The dropout's state below a name of its own; empty without one."""
        return {} if self.dropout is None else {_STATE: self.dropout.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Take the dropout's state back, and give the rest of what there is."""
        if self.dropout is not None and _STATE in state:
            self.dropout.load_state_dict(state[_STATE])
        return {name: value for name, value in state.items() if name != _STATE}
