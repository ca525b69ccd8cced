"""The network of several modalities: what every method relies on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn


class MultimodalNetwork(nn.Module):
    """One encoder per modality, a fusion and a head (Guo et al., eqs. 1 and 2).

    A subclass gives `fuse`, and `encode` when its inputs are not a dictionary keyed by modality.
    Methods rely on three things only: `encoders` (phi_i, one module per modality name), `head`
    (F's last layer, a module whose `weight` they may read) and `forward` = `fuse(encode(inputs))`.
    Classifiers of single modalities are separate modules: a trained network carries nothing of
    the way it was trained.

    Args:
        encoders: one module per modality name; the order is the order of the modalities.

    Raises:
        ValueError: when there is no encoder, or a name cannot key a `torch.nn.ModuleDict`.
    """

    if TYPE_CHECKING:  # an annotation that TorchScript sees must be one of its own types
        head: nn.Module

    def __init__(self, encoders: Mapping[str, nn.Module]) -> None:
        super().__init__()
        check_modalities(list(encoders))
        self.encoders = nn.ModuleDict(encoders)
        self.modalities = list(encoders)

    def encode(self, inputs: Any, /) -> dict[str, Any]:
        """Give h_i of every modality found in `inputs`, a mapping keyed by modality (eq. 1).

        Raises:
            ValueError: when `inputs` names a modality that the network does not have.
        """
        unknown = [name for name in inputs if name not in self.encoders]
        if unknown:
            raise ValueError(f"no modality is called {unknown[0]!r}; it has {self.modalities}")
        return {name: e(inputs[name]) for name, e in self.encoders.items() if name in inputs}

    def fuse(self, features: dict[str, Any], /) -> Tensor:
        """Give the prediction F(Omega(h_1, ..., h_M)) from the features of `encode` (eq. 2)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to fuse its modalities")

    @torch.jit.unused
    def presence(self, inputs: Any, /) -> Tensor | None:
        """Tell which modalities each sample has, bool (B, M), from what `forward` gets.

        None, as here, says that each sample has them all.
        """
        return None

    @property
    @torch.jit.unused
    def can_fuse(self) -> bool:
        """Whether `fuse` can be called by itself: whether this network gives one."""
        return type(self).fuse is not MultimodalNetwork.fuse

    def forward(self, inputs: Any, /) -> Tensor:
        return self.fuse(self.encode(inputs))


def check_modalities(names: list[str]) -> None:
    """Refuse names that cannot key the encoders, before anything is built for them.

    Raises:
        ValueError: when there is no name, a name comes twice, has a dot, or is a word that
            `torch.nn.ModuleDict` keeps for itself (such as "type").
    """
    if not names:
        raise ValueError("a network needs at least one modality, got none")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"modality {name!r} is given {names.count(name)} times in {names}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"a modality's name must be a word without dots, got {name!r}")
        if hasattr(nn.ModuleDict(), name):
            raise ValueError(f"a modality cannot be called {name!r}, torch uses this name itself")
