"""Predictions of the fusion from a part of the modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .features import batch_size, masked
from .method import Run, Step


def check_fusion(run: Run, method: str) -> None:
    """Refuse networks whose fusion cannot be called by itself.

    Raises:
        ValueError: the network has no ``fuse(features)``.
    """
    if not getattr(run.network, "can_fuse", callable(getattr(run.network, "fuse", None))):
        raise ValueError(
            f"{method} tries the fusion on subsets of the modalities, but "
            f"{type(run.network).__name__} has no fuse(features): choose another method"
        )


def fused(step: Step, features: Mapping[str, Any], present: Mapping[str, bool]) -> Tensor:
    """What the network predicts when some modalities are masked, in eval mode, with its graph.

    In eval mode, so that running statistics do not learn from what is masked.

    Args:
        step: whose network is asked.
        features: of the step, or copies of them.
        present: which modalities the fusion sees.

    Returns:
        In 32 bits or more, of the shape of the prediction.
    """
    fuse: Any = step.run.network.fuse
    nothing = torch.zeros(batch_size(features), dtype=torch.bool)
    seen = {
        name: feature if present[name] else masked(feature, nothing)
        for name, feature in features.items()
    }
    with evaluating(step.run.network):
        output = precise(fuse(seen))
    # A padded image gives padded predictions.
    return output[tuple(slice(size) for size in step.prediction.shape)]


def fused_with_input(
    step: Step, features: Mapping[str, Any], present: Mapping[str, bool]
) -> tuple[Tensor, Tensor]:
    """The same, and what the network's last layer saw: the vectors before the prediction.

    Returns:
        The prediction, and (B, D, ...) in 32 bits or more.
    """
    seen: list[Tensor] = []
    handle = step.last_layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        prediction = fused(step, features, present)
    finally:
        handle.remove()
    return prediction, precise(seen[-1])


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for a while; every module gets its own mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def precise(tensor: Tensor) -> Tensor:
    """A plain tensor of 32 bits or more: sums of gradients do not fit into those of AMP."""
    return tensor.as_subclass(Tensor).to(torch.promote_types(tensor.dtype, torch.float32))
