"""What can a method do with features whose kind it does not know?

A feature is what an encoder gave: a tensor (B, D) or (B, C, ...), the values and lengths of
sequences ((B, T, W), (B,)), or a tuple of maps such as high- and low-level ones (B, C, h, w).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot
from torch.utils.data import DataLoader, Subset

from .method import Run
from .tasks import Task
from .watch import Watch


def masked(feature: Any, keep: Tensor) -> Any:
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
    if isinstance(feature, Tensor):
        here = keep.to(feature.device).view(-1, *[1] * (feature.ndim - 1))
        # Not a product: what is masked may be infinite.
        return torch.where(here, feature, torch.zeros_like(feature))
    if isinstance(feature, dict):
        return {name: masked(part, keep) for name, part in feature.items()}
    if isinstance(feature, list | tuple):
        parts = [masked(part, keep) for part in feature]
        return tuple(parts) if isinstance(feature, tuple) else parts
    return feature


def pooled(feature: Any) -> Tensor:
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
        steps = torch.arange(values.shape[1], device=values.device)
        real = (steps[None] < lengths[:, None].to(values.device))[..., None]
        total = torch.where(real, values, torch.zeros_like(values)).sum(1)
        return total / lengths.to(values).clamp(min=1)[:, None]
    first = feature[0] if isinstance(feature, list | tuple) and feature else feature
    if not isinstance(first, Tensor) or first.ndim < 2:
        raise ValueError(
            f"a feature is a tensor (B, D, ...), a tuple of them, or values with lengths; got "
            f"{tuple(first.shape) if isinstance(first, Tensor) else type(feature).__name__}"
        )
    return first.flatten(2).mean(2) if first.ndim > 2 else first


def detached(features: Any) -> Any:
    """Cut a tensor, or a list, tuple or dictionary of tensors, from its graph."""
    if isinstance(features, Tensor):
        return features.detach()
    if isinstance(features, Mapping):
        return {name: detached(value) for name, value in features.items()}
    if isinstance(features, list | tuple):
        parts = [detached(value) for value in features]
        return tuple(parts) if isinstance(features, tuple) else parts
    return features


def is_sequence(feature: Any) -> bool:
    """Whether a feature is values (B, T, W) with the length of each sample (B,)."""
    if not isinstance(feature, list | tuple) or len(feature) != 2:
        return False
    values, lengths = feature
    if not isinstance(values, Tensor) or not isinstance(lengths, Tensor):
        return False
    return values.ndim == 3 and lengths.ndim == 1


def batch_size(feature: Any) -> int:
    """How many samples a feature is of."""
    while isinstance(feature, dict | list | tuple):
        feature = next(iter(feature.values() if isinstance(feature, dict) else feature))
    return int(feature.shape[0])


def nonempty_subsets(count: int) -> Tensor:
    """All non-empty subsets of so many modalities, bool, shape (2^count - 1, count).

    >>> nonempty_subsets(2).int()
    tensor([[1, 0],
            [0, 1],
            [1, 1]], dtype=torch.int32)
    """
    numbers = torch.arange(1, 2**count)
    return (numbers[:, None] >> torch.arange(count)) % 2 == 1


def vectors_of(feature: Any, label: Tensor, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors that ought to differ by class: one per sample, or per image and class in it.

    In an image each class has the mean of the high-level features over its pixels. A vector of
    zeros is that of an absent modality and left out.

    Returns:
        Vectors (N, D) in float32 with their graph; the sample each belongs to (N,); its class
        (N,), or for a regression its label (N, 1).
    """
    if task.kind != "segmentation":
        vectors = pooled(feature).float()
        samples = torch.arange(len(vectors), device=vectors.device)
        marks = label.flatten(1)[:, :1] if task.kind == "regression" else task.classes(label)
    else:
        maps = (feature if isinstance(feature, Tensor) else feature[0]).float()
        areas = one_hot(task.classes(label)).movedim(-1, 1).to(maps)
        shares = adaptive_avg_pool2d(areas, (maps.shape[2], maps.shape[3]))
        totals = shares.sum((2, 3))
        samples, marks = torch.nonzero(totals > 0, as_tuple=True)
        sums = torch.einsum("bkhw,bchw->bkc", shares, maps)
        vectors = sums[samples, marks] / totals[samples, marks][:, None]
    here = vectors.detach().ne(0).any(1)
    return vectors[here], samples[here], marks.to(vectors.device)[here]


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
    watch = Watch(encoders, network, lambda _, feature: feature)
    watch.begin()
    try:
        prediction = call(inputs, *arguments, **settings)
        return dict(watch.features), prediction if fuse else None, label
    finally:
        watch.remove()


@contextmanager
def undisturbed(run: Run, seed: int) -> Iterator[None]:
    """Draw from a seed of one's own; random states and train/eval modes are restored afterwards."""
    modules = [*run.network.modules()]
    modules += [m for classifier in run.classifiers.values() for m in classifier.modules()]
    modes = [module.training for module in modules]
    states = random.getstate(), np.random.get_state()
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


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
