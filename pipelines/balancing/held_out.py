"""Parts of the training data that are held out, and features with their classes and ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from .batches import batches_of, ids_of, observed
from .method import Run
from .randomness import undisturbed


@torch.no_grad()
def labeled_vectors(
    run: Run, batches: Iterable[Any]
) -> dict[str, tuple[Tensor, Tensor, list[str]]]:
    """By modality: class vectors, what tells the classes, and ids; all on the CPU.

    See :meth:`Task.class_vectors`. The network is put into eval mode: call this in
    :func:`undisturbed`.
    """
    run.network.eval()
    rows: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in run.modalities}
    ids: dict[str, list[str]] = {name: [] for name in run.modalities}
    for batch in batches:
        features, _, label = observed(run, batch, run.network, run.encoders, fuse=False)
        names = ids_of(batch) or [""] * len(label)
        for name, feature in features.items():
            vectors, samples, marks = run.task.class_vectors(feature, label)
            rows[name].append((vectors.cpu(), marks.cpu()))
            ids[name] += [names[i] for i in samples.tolist()]
    return {
        name: (torch.cat([v for v, _ in pairs]), torch.cat([m for _, m in pairs]), ids[name])
        for name, pairs in rows.items()
        if pairs
    }


def sample_ids(run: Run) -> list[str]:
    """Id of every sample of the training data, read once; an empty text where there is none."""
    ids: list[str] = []
    with undisturbed(run, 0):
        for batch in batches_of(run):
            _, label, *_ = run.prepare_batch(batch, torch.device("cpu"), False)
            ids += ids_of(batch) or [""] * len(label)
    return ids


def held_out_ids(ids: Sequence[str], share: float, seed: int) -> set[str]:
    """Draw a share of the different ids, at least one and never all; the same for the same seed."""
    different = sorted(set(ids), key=lambda name: (crc32(f"{seed}:{name}".encode()), name))
    count = min(max(1, round(share * len(different))), len(different) - 1)
    return set(different[:count])
