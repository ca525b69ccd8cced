"""What a network's channels mean: classes that exclude each other, or regions within regions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...data.brats.conventions import (
    ALL_REGIONS,
    CLASSES,
    CONVENTIONS,
    REGION_CLASSES,
    REGIONS,
    cavity_conventions,
    label_convention_named,
)
from ...data.errors import InputError
from ..balancing import RegionTask, SegmentationTask
from ..balancing.scores import most_probable

# And how many channels tell them; the classes of "cavity" have the resection cavity, too.
OUTPUTS = {"classes": len(CLASSES) - 1, "regions": len(REGIONS), "cavity": len(CLASSES)}
GROUPS = [REGION_CLASSES[region] for region in REGIONS]


def output_channels(outputs: str, late_fusion: str | None = None) -> int:
    """Give the number of channels of a kind of outputs.

    Args:
        outputs: "classes", "regions" or "cavity".
        late_fusion: the network's rule, if it has one.

    Raises:
        InputError: there is no such kind, or not with this late fusion.
    """
    if outputs == "regions" and late_fusion == "confidence":
        raise InputError(
            "the method qmf weighs predictions by the energy of classes that exclude each other, "
            "which 'outputs' regions are not: pass --outputs classes, or another --method"
        )
    if outputs not in OUTPUTS:
        raise InputError(f"'outputs' is {outputs!r}; it must be one of {list(OUTPUTS)}")
    return OUTPUTS[outputs]


def told_classes(outputs: str) -> tuple[str, ...]:
    """Name the classes of the masks of a kind of outputs; only those of "cavity" have RC."""
    return CLASSES if outputs == "cavity" else CLASSES[:-1]


def told_regions(outputs: str) -> tuple[str, ...]:
    """Name the regions that a kind of outputs tells: WT, TC and ET, and RC where it is a class."""
    return tuple(ALL_REGIONS) if outputs == "cavity" else REGIONS


def mask_convention(outputs: str, given: str | None, usual: str) -> str:
    """Choose the label convention of the masks of a network.

    Args:
        outputs: of the network.
        given: the user's choice, if any.
        usual: what is taken without one, unless the masks have a cavity and it has not.

    Raises:
        InputError: the choice is unknown, or has no value for a cavity that the network tells.
    """
    chosen = label_convention_named(given or usual)
    if "RC" not in told_regions(outputs) or chosen.has_cavity:
        return chosen.name
    if given is None:
        return next(name for name, known in CONVENTIONS.items() if known.has_cavity)
    raise InputError(
        f"label_convention is {given!r}, which has no value for the resection cavity that this "
        f"network tells: choose {cavity_conventions()}, or leave label_convention out"
    )


def segmentation_task(
    outputs: str,
    loss: Callable[[Tensor, Tensor], Tensor],
    scores: Callable[[Tensor, Tensor], Tensor],
) -> SegmentationTask:
    """Build the task of a kind of outputs.

    Args:
        outputs: "classes", "regions" or "cavity".
        loss: see :class:`cggm.pipelines.balancing.Task`.
        scores: likewise.
    """
    output_channels(outputs)
    if outputs == "regions":
        return RegionTask(loss, scores, GROUPS)
    return SegmentationTask(loss, scores)


def tells_regions(logits: Tensor) -> bool:
    """Whether logits (B, C, ...) are those of WT, TC and ET, rather than of classes."""
    return logits.shape[1] == len(REGIONS)


def classes_of(logits: Tensor) -> Tensor:
    """Decide for classes.

    Of classes the most probable one is taken; a region is where its probability is above one half,
    within the region around it: ET in TC, TC in WT.

    Args:
        logits: of either kind, shape (B, C, ...).

    Returns:
        Class numbers, int64 of shape (B, ...).

    >>> classes_of(torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])).tolist()
    [1, 2, 0]
    """
    if not tells_regions(logits):
        return most_probable(logits)
    whole, core, enhancing = (logits > 0).unbind(1)
    # 0 background, 2 ED is in WT alone, 1 NCR in TC too, 3 ET in all.
    within = torch.where(core, torch.where(enhancing, 3, 1), 2)
    return torch.where(whole, within, 0)


def class_probabilities(logits: Tensor) -> Tensor:
    """Probabilities of the classes, float32; they add up to 1.

    Their shape is (B, 4, ...), or (B, 5, ...) where the cavity is a class.

    Of regions, a part is what it has beyond the next one inside, the inner one being capped by the
    outer one. The most probable class need not be that of :func:`classes_of` then.

    Args:
        logits: of either kind, shape (B, C, ...).
    """
    if not tells_regions(logits):
        return logits.float().softmax(1)
    whole, core, enhancing = logits.float().sigmoid().cummin(1).values.unbind(1)
    return torch.stack([1 - whole, core - enhancing, whole - core, enhancing], dim=1)


def mean_logits(several: Iterable[Tensor]) -> Tensor:
    """Logits whose probabilities are the mean of those of several, shape (B, C, ...).

    >>> mean_logits([torch.tensor([[0.0, 0.0]]), torch.tensor([[50.0, -50.0]])]).softmax(1)
    tensor([[0.7500, 0.2500]])
    """
    stack = torch.stack([logits.float() for logits in several])
    if tells_regions(stack[0]):
        return logsigmoid(stack).logsumexp(0) - logsigmoid(-stack).logsumexp(0)
    return stack.log_softmax(2).logsumexp(0) - math.log(len(stack))


def background_logits(logits: Tensor) -> Tensor:
    """Logits of certain background, of the kind of `logits`, shape (1, C, 1, ...)."""
    certain = logits.new_full((1, logits.shape[1], *[1] * (logits.ndim - 2)), -torch.inf)
    if not tells_regions(logits):
        certain[:, 0] = 0
    return certain
