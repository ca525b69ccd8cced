"""The record of a step: plain numbers by quantity and modality."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .method import Step

FUSION = "fusion"  # the whole network, beside its modalities
Record = dict[str, dict[str, float]]


def record_of(step: Step, norms: Tensor, more: Mapping[str, Tensor]) -> Record:
    """What happened in a step: gradient_norm and, as far as there are some, score, cosine and loss.

    The score is epsilon of eq. 6; the norm is that of the encoder's gradient before modulation; the
    cosine is between the network's and the classifier's last-layer gradients; the loss is the
    classifier's on the last batch. Score and loss have the entry ``"fusion"`` too: the network's.

    Args:
        step: its scores, cosines and losses are recorded where it has some.
        norms: of the encoders' gradients, shape (M,).
        more: further quantities, each of shape (M,): the method's own, such as balance.
    """
    rows = {"gradient_norm": norms}
    fusion: dict[str, Tensor] = {}  # what the whole network has in common with a classifier
    if step.fusion_score is not None:
        rows["score"] = step.scores
        fusion["score"] = step.fusion_score
    if step.cosines is not None:
        rows["cosine"] = step.cosines
    if step.classifier_losses:
        losses = [step.classifier_losses[name].detach() for name in step.modalities]
        rows["loss"] = torch.stack(losses)
        fusion["loss"] = step.task_loss.detach()
    rows |= more
    table = torch.stack([row.to(norms) for row in rows.values()])
    whole = [value.reshape(1).to(norms) for value in fusion.values()]
    # One transfer from the device for all.
    numbers = iter(torch.cat([table.flatten(), *whole]).tolist())
    record = {name: {modality: next(numbers) for modality in step.modalities} for name in rows}
    for name in fusion:
        record[name][FUSION] = next(numbers)
    return record
