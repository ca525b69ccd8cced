"""Batches of the training data: their parts, their samples' ids, and a method's own passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from .capture import Capture
from .method import Run


def prepare_modalities(
    batch: Any, device: torch.device | str | None = None, non_blocking: bool = False
) -> tuple[Any, Any]:
    """Split a batch into inputs and label, and move them to a device.

    Args:
        batch: a pair, or a mapping with ``label`` and ``inputs`` or ``image``; inputs may be a
            dictionary of modalities, each a tensor or a tuple of tensors.
        device: where the tensors go.
        non_blocking: do not wait for a copy from pinned memory.

    Raises:
        ValueError: the batch is neither.
    """
    if isinstance(batch, Mapping):
        inputs, label = batch.get("inputs", batch.get("image")), batch.get("label")
    elif isinstance(batch, list | tuple) and len(batch) == 2:
        inputs, label = batch
    else:
        inputs, label = None, None
    if inputs is None:
        shape = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f"a batch is {shape}; expected a pair (inputs, label), or a mapping with 'inputs' or "
            "'image' and 'label': pass prepare_batch=, a function that gives inputs and label"
        )
    return moved(inputs, device, non_blocking), moved(label, device, non_blocking)


def moved(value: Any, device: torch.device | str | None, non_blocking: bool = False) -> Any:
    """Move all tensors in a value to a device: itself, or in dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        return value.to(device=device, non_blocking=non_blocking)
    if isinstance(value, Mapping):
        return {name: moved(part, device, non_blocking) for name, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [moved(part, device, non_blocking) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def ids_of(batch: Any) -> list[str] | None:
    """Names of the samples of a batch, or the cases of slices; None where there are none."""
    names = batch.get("id", batch.get("case")) if isinstance(batch, Mapping) else None
    return [str(name) for name in names] if isinstance(names, list | tuple) else None


def observed(
    run: Run, batch: Any, network: Any, encoders: Mapping[str, Any], *, fuse: bool
) -> tuple[dict[str, Any], Tensor | None, Tensor]:
    """Features, the network's prediction and the label of a batch.

    Args:
        run: how a batch is prepared.
        batch: from :func:`batches_of`.
        network: the run's, or a copy.
        encoders: its own.
        fuse: predict too; without it the fusion is left out where the network allows.
    """
    inputs, label, *more = run.prepare_batch(batch, run.device, False)
    arguments, settings = more if len(more) == 2 else ((), {})
    call = network if fuse else getattr(network, "encode", network)
    capture = Capture(encoders, network)
    with capture:
        prediction = call(inputs, *arguments, **settings)
    return capture.features, prediction if fuse else None, label


def training_data(run: Run) -> Sequence[Any]:
    """The data set behind the trainer's loader; a list of batches is its own data set.

    Raises:
        ValueError: it cannot be read at any place.
    """
    data = getattr(run.batches, "dataset", run.batches)
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise ValueError(
            f"the training data are a {type(data).__name__}; this method reads parts of them by "
            "index: pass a data loader on a data set with __len__ and __getitem__"
        )
    return cast("Sequence[Any]", data)


def batches_of(
    run: Run, indices: Sequence[int] | None = None, order: torch.Generator | None = None
) -> DataLoader[Any]:
    """Batches of some training data, of the trainer's size and collated as there.

    Args:
        run: the training.
        indices: which samples; all when not given.
        order: shuffle with this generator, leaving out an incomplete last batch.
    """
    data, loader = training_data(run), run.batches
    chosen = range(len(data)) if indices is None else indices
    if not hasattr(loader, "dataset"):
        size, collate = None, _as_it_is
    else:
        size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 32)
        collate = loader.collate_fn
    return DataLoader(
        cast("Any", Subset(cast("Any", data), list(chosen))),
        batch_size=size,
        shuffle=order is not None,
        drop_last=order is not None and size is not None and len(chosen) > size,
        collate_fn=collate,
        generator=order,
        num_workers=getattr(loader, "num_workers", 0),
    )


def _as_it_is(batch: Any) -> Any:
    return batch
