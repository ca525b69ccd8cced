"""A modality dropout in a training: a draw for each forward pass, masks for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .features import Feature, batch_size, masked
from .method import Run
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
        self._kept = torch.ones(0, len(self.modalities), dtype=torch.bool)

    def __call__(self, modality: str, feature: Feature, run: Run, *, first: bool) -> Feature:
        """Give what the fusion sees of a modality's feature.

        Args:
            modality: whose.
            feature: of the samples of the batch.
            run: which knows the epoch, and which modalities are left of each sample.
            first: whether this is the first encoder of a forward pass.

        Raises:
            RuntimeError: encoders gave features of another number of samples.
        """
        if self.dropout is None:
            return feature
        if first:
            self._kept = self.dropout.draw(
                batch_size(feature), self.modalities, epoch=run.epoch, available=run.left
            )
        if batch_size(feature) != len(self._kept):
            raise RuntimeError(
                f"the encoder of {modality!r} gave features of {batch_size(feature)} samples, "
                f"others of {len(self._kept)}: modality dropout needs all encoders to see the "
                "whole batch"
            )
        return masked(feature, self._kept[:, self.modalities.index(modality)])

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
