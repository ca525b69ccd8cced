"""TorchScript of a packed network, compared with it for every subset of its sequences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import save_net_with_metadata
from monai.networks import convert_to_torchscript
from torch import nn

from ....data.errors import InputError
from ..reliability import joined
from ..subset_inference import subsets_of

_ALLOWED = 1e-3  # of logits; what is more is another network
_SIDE = 48  # a multiple of the strides of all networks


def export_torchscript(network: nn.Module, path: Path, meta: Mapping[str, Any]) -> nn.Module:
    """Write a TorchScript file with the bundle's metadata inside, and give what it holds.

    Its second argument, which may be left out, says which sequences there are.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch announces an end of TorchScript
        script = convert_to_torchscript(network)
        assert isinstance(script, nn.Module), "a network is scripted, not a function"
        save_net_with_metadata(script, str(path), meta_values=meta)
        return torch.jit.load(str(path)).eval()


@torch.no_grad()
def parity(
    network: nn.Module, exported: nn.Module, sequences: Sequence[str], format: Mapping[str, Any]
) -> dict[str, float]:
    """Compare an exported network with the network itself.

    Args:
        network: ready to segment.
        exported: takes the same.
        sequences: of the network.
        format: of its image, in the bundle's metadata.

    Returns:
        By subset, the largest difference of logits on two random images.

    Raises:
        InputError: one of them is more than 0.001.
    """
    sides = [_SIDE] * len(format["spatial_shape"])
    random = torch.Generator().manual_seed(0)
    image = torch.randn(2, format["num_channels"], *sides, generator=random)
    found = {}
    for subset in subsets_of(sequences):
        present = torch.tensor([name in subset for name in sequences])
        away = (exported(image, present) - network(image, present)).abs().max()
        found[joined(subset)] = float(away)
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= _ALLOWED:
        raise InputError(
            f"the exported network differs from the trained one by {found[worst]:.2g} in a logit "
            f"of {worst}; expected at most {_ALLOWED}: leave --torchscript out"
        )
    return found
