"""The network of a packed bundle, which takes no weights but those of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ....data.errors import InputError, some
from ..trained import network_of


def packed_network(trained: Mapping[str, Any], **settings: Any) -> nn.Module:
    """Build the network of a packed bundle, still without weights.

    MONAI and MONAI Label load weights into whatever a configuration describes, and leave at random
    what does not fit. This network has NaN until weights are loaded, and loading refuses to leave
    any.

    Args:
        trained: the settings that the bundle's weights were trained with.
        settings: those to build, the same.

    Raises:
        InputError: the settings differ. Loading raises it too, for weights of another network.
    """
    differing = [
        f"{name} {settings.get(name)} (trained: {trained.get(name)})"
        for name in dict.fromkeys([*trained, *settings])
        if settings.get(name) != trained.get(name)
    ]
    if differing:
        raise InputError(
            f"network_def is not the network that the bundle's weights belong to: "
            f"{', '.join(differing)}; take back what configs/inference.json had when it was packed"
        )
    network = network_of(settings)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
    network.register_load_state_dict_post_hook(_refuse_leftovers)
    return network


def _refuse_leftovers(network: nn.Module, _: object) -> None:
    """Refuse that anything of a network is still without weights, or became NaN."""
    left = [name for name, tensor in network.state_dict().items() if bool(tensor.isnan().any())]
    if left:
        raise InputError(
            f"the weights belong to another network than network_def: they do not give "
            f"{some(left, 3)}; take models/model.pt and configs/inference.json of one pack"
        )
