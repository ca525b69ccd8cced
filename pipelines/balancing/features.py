"""Features of any kind: masked, pooled, cut from their graphs, filled with constants.

A feature is what an encoder gave: a tensor (B, D) or (B, C, ...), the values and lengths of
sequences ((B, T, W), (B,)), or a tuple of maps such as high- and low-level ones (B, C, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# A tensor, values with lengths, or a tuple of maps.
Feature = Any


def masked(feature: Feature, keep: Tensor) -> Any:
    """Make a modality absent for some samples, in the way that the fusion understands.

    A sequence gets the length 0, so that no attention reaches it; everything else becomes zeros.
    No gradient flows into what is masked. What is not a tensor stays as it is.

    Args:
        feature: of one modality.
        keep: which samples keep it, bool, shape (B,).

    >>> masked(torch.ones(2, 3), torch.tensor([True, False]))
    tensor([[1., 1., 1.],
            [0., 0., 0.]])
    """

    def change(part: Tensor) -> Tensor:
        here = keep.to(part.device).view(-1, *[1] * (part.ndim - 1))
        # Not a product: what is masked may be infinite.
        return torch.where(here, part, torch.zeros_like(part))

    return _changed(feature, change)


def scaled(feature: Feature, factor: float) -> Any:
    """Multiply a feature by a number; lengths, and what is not a tensor, stay as they are.

    >>> scaled((torch.ones(1, 2, 1), torch.tensor([2])), 3.0)[0].flatten()
    tensor([3., 3.])
    """
    return _changed(feature, lambda part: part * factor if part.is_floating_point() else part)


def selected(feature: Feature, rows: Tensor) -> Any:
    """Take some samples of a feature.

    Args:
        feature: of one modality.
        rows: which samples, bool, shape (B,).

    >>> selected((torch.zeros(2, 3, 1), torch.tensor([3, 0])), torch.tensor([True, False]))[1]
    tensor([3])
    """
    return _changed(feature, lambda part: part[rows.to(part.device)])


def _changed(feature: Feature, change: Callable[[Tensor], Tensor]) -> Any:
    """A feature with its tensors changed; numbers, texts and None stay as they are.

    Raises:
        TypeError: it is of another kind, which may hide tensors.
    """
    if isinstance(feature, Tensor):
        return change(feature)
    if isinstance(feature, Mapping):
        parts = {name: _changed(part, change) for name, part in feature.items()}
        kind: Any = type(feature)  # an output of transformers is still one
        return parts if kind is dict else kind(**parts)
    if isinstance(feature, list | tuple):
        parts = [_changed(part, change) for part in feature]
        kind = type(feature)
        return kind(*parts) if hasattr(feature, "_fields") else kind(parts)
    if feature is None or isinstance(feature, str | bytes | int | float):
        return feature
    raise TypeError(
        f"an encoder gave a {type(feature).__name__}: tensors in it cannot be cut from their graph "
        "or masked; give a tensor, or a tuple, list or dictionary of them"
    )


def pooled(feature: Feature) -> Tensor:
    """Give one vector per sample, shape (B, D), with its graph.

    Sequences are averaged over the steps that are real, maps over their positions; of a tuple of
    maps, the first is taken, which is the high-level one. An absent sequence gives zeros.

    Args:
        feature: of one modality.

    Raises:
        ValueError: it is none of the kinds above.

    >>> pooled((torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([2])))
    tensor([[3.]])
    """
    if is_sequence(feature):
        values, lengths = feature
        real = real_steps(feature)
        total = torch.where(real, values, torch.zeros_like(values)).sum(1)
        return total / lengths.to(values).clamp(min=1)[:, None]
    first = feature[0] if isinstance(feature, list | tuple) and feature else feature
    if not isinstance(first, Tensor) or first.ndim < 2:
        raise ValueError(
            f"a feature is a tensor (B, D, ...), a tuple of them, or values with lengths; got "
            f"{tuple(first.shape) if isinstance(first, Tensor) else type(feature).__name__}"
        )
    return first.flatten(2).mean(2) if first.ndim > 2 else first


def detached(features: Feature) -> Any:
    """Cut a feature, or a dictionary of them, from its graph."""
    return _changed(features, Tensor.detach)


def is_sequence(feature: Feature) -> bool:
    """Whether a feature is values (B, T, W) with the length of each sample (B,)."""
    if not isinstance(feature, list | tuple) or len(feature) != 2:
        return False
    values, lengths = feature
    if not isinstance(values, Tensor) or not isinstance(lengths, Tensor):
        return False
    return values.ndim == 3 and lengths.ndim == 1


def real_steps(feature: Feature) -> Tensor:
    """Which steps of sequences are no padding, bool, shape (B, T, 1)."""
    values, lengths = feature
    steps = torch.arange(values.shape[1], device=values.device)
    return (steps[None] < lengths[:, None].to(values.device))[..., None]


def batch_size(feature: Feature) -> int:
    """How many samples a feature is of."""
    while isinstance(feature, dict | list | tuple):
        feature = next(iter(feature.values() if isinstance(feature, dict) else feature))
    return int(feature.shape[0])


def check_kept(kept: Tensor | None, feature: Feature, modality: str, method: str) -> Tensor:
    """Give what was drawn for the samples of a batch, where a feature is of that batch.

    Args:
        kept: which modalities each sample keeps, shape (B, M).
        feature: what an encoder gave.
        modality: its name.
        method: for whom it was drawn, for the message.

    Raises:
        RuntimeError: an encoder saw another number of samples than the others.
    """
    if kept is None or len(kept) != batch_size(feature):
        raise RuntimeError(
            f"the encoder of {modality!r} gave features of {batch_size(feature)} samples, "
            f"others gave another number: {method} needs all encoders to see the whole batch"
        )
    return kept


def nonempty_subsets(count: int) -> Tensor:
    """All non-empty subsets of so many modalities, bool, shape (2^count - 1, count).

    >>> nonempty_subsets(2).int()
    tensor([[1, 0],
            [0, 1],
            [1, 1]], dtype=torch.int32)
    """
    numbers = torch.arange(1, 2**count)
    return (numbers[:, None] >> torch.arange(count)) % 2 == 1
