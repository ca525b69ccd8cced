"""Checks that a network, its classifiers, a method and an optimizer fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from .masking import Masking
from .method import Method, last_weight, weight_or_none
from .modality_dropout import ModalityDropout
from .optimization import parameters_of

# The name of the method's class, beside what it remembers.
METHOD = "method_class"

_TELL_EPOCHS = (
    "write `for epoch in balancer.epochs(number_of_epochs, loader):` around the loop, or in a "
    "trainer with callbacks call balancer.start(number_of_epochs, loader), begin_epoch(number) and "
    "end_epoch()"
)

# Methods that a training began with, by their id: copies are others, and are not among them.
_BEGUN: WeakValueDictionary[int, Method] = WeakValueDictionary()


def check_batches(loader: Any) -> None:
    """Refuse a loader without any batch.

    Raises:
        ValueError: it has samples, but not enough for one batch, or none.
    """
    if not hasattr(loader, "__len__") or len(loader) > 0:
        return
    samples = len(getattr(loader, "dataset", []))
    size = getattr(loader, "batch_size", None)
    raise ValueError(
        f"{samples} training samples give no batch of {size} (an incomplete last batch is "
        f"dropped): pass batch_size={max(samples, 1)} (command line: --batch_size "
        f"{max(samples, 1)}) or less, or give more data"
    )


def head_of(method: Method, network: nn.Module, head: nn.Module | None) -> nn.Module | None:
    """The last layer: that given, or the network's ``head``; None where a method needs none.

    Raises:
        ValueError: there is none, and the method needs one.
    """
    layer = getattr(network, "head", None) if head is None else head
    if not isinstance(layer, nn.Module):
        if not method.needs_head:
            return None
        raise ValueError(
            f"{type(network).__name__} has no last layer called `head`: pass head=<its last layer>"
        )
    if method.needs_head:
        last_weight(layer)
    # Without a weight there is nothing to compare the classifiers' gradients with.
    return None if weight_or_none(layer) is None else layer


def check_apart(encoders: Mapping[str, nn.Module]) -> None:
    """Refuse encoders that are one module, or have parameters in common.

    Raises:
        ValueError: two of them do.
    """
    owners: dict[int, str] = {}
    for name, encoder in encoders.items():
        for part in (encoder, *encoder.parameters()):
            other = owners.setdefault(id(part), name)
            if other != name:
                raise ValueError(
                    f"the encoders of {other!r} and {name!r} share parameters: their gradients "
                    "cannot be scaled apart, nor their features told apart; give each its own, or "
                    "use Joint without classifiers and dropout"
                )


def check_new(method: Method) -> None:
    """Refuse a method that another training began with: it remembers the steps of that one.

    Raises:
        ValueError: it is such a one.
    """
    if _BEGUN.get(id(method)) is method:
        name = type(method).__name__
        raise ValueError(
            f"this {name} has trained with another balancer and remembers what it saw there: build "
            f"a new one, {name}(...), for each balancer, or go on with the balancer that it has"
        )


def note_begun(method: Method) -> None:
    """Remember, for :func:`check_new`, that a training began with a method."""
    _BEGUN[id(method)] = method


def own_state(method: Method, state: Mapping[str, Any]) -> dict[str, Any]:
    """What a method remembered, of what a balancer kept.

    Raises:
        ValueError: another method's state was kept.
    """
    name = type(method).__name__
    kept = state.get(METHOD, name)  # earlier versions did not say
    if kept != name:
        raise ValueError(
            f"this state is of a training with {kept}, and the balancer has {name}: load it into a "
            f"balancer with {kept}, or train anew"
        )
    return {key: value for key, value in state.items() if key != METHOD}


def classifiers_of(
    method: Method,
    encoders: Mapping[str, nn.Module],
    head: nn.Module | None,
    classifiers: Mapping[str, nn.Module] | nn.ModuleDict | None,
) -> dict[str, nn.Module]:
    """The classifiers in the order of the encoders.

    Raises:
        ValueError: there are none and the method needs them, or they do not fit the encoders or the
            head.
    """
    if classifiers is None:
        if method.needs_classifiers:
            raise ValueError(
                f"{type(method).__name__} needs one classifier per modality: "
                f"pass classifiers for {list(encoders)}"
            )
        return {}
    modules = dict(classifiers.items())
    if set(modules) != set(encoders):
        raise ValueError(
            f"there are classifiers for {sorted(modules)}, but encoders for {sorted(encoders)}"
        )
    if head is None or not method.needs_head:
        return {name: modules[name] for name in encoders}
    expected = tuple(last_weight(head).shape)
    for name, classifier in modules.items():
        shape = tuple(last_weight(classifier).shape)
        if shape != expected:
            raise ValueError(
                f"the last layer of the classifier of {name!r} has a weight of shape {shape}, the "
                f"network's head {expected}: eq. 12 compares the two, so they must be alike"
            )
    return {name: modules[name] for name in encoders}


def optimizer_of(
    optimizer: torch.optim.Optimizer | None, classifiers: Mapping[str, nn.Module]
) -> torch.optim.Optimizer:
    """The optimizer, which trains the classifiers too.

    Raises:
        ValueError: there is none, or it would leave the classifiers as they are.
    """
    if optimizer is None:
        raise ValueError(
            "the balancer has no optimizer: pass optimizer=, or set balancer.optimizer = "
            "torch.optim.SGD(balancer.parameter_groups(lr=0.1))"
        )
    optimized = {id(parameter) for parameter in parameters_of(optimizer)}
    for name, classifier in classifiers.items():
        if any(p.requires_grad and id(p) not in optimized for p in classifier.parameters()):
            raise ValueError(
                f"the optimizer does not train the classifier of {name!r}: build it with "
                "cggm.pipelines.balancing.parameter_groups(network, classifiers, ...)"
            )
    return optimizer


def masking_of(
    dropout: ModalityDropout | None,
    method: Method,
    network: nn.Module,
    encoders: Mapping[str, nn.Module],
) -> Masking:
    """The dropout of a training, one that drops nothing where there is none.

    Raises:
        ValueError: the method or the network cannot train with it, or it does not fit the names.
    """
    name, modalities = type(method).__name__, list(encoders)
    if dropout is None or not dropout.is_active:
        return Masking(None, modalities)
    if method.drops:
        raise ValueError(
            f"{name} has its own modality dropout: set its own p and modality dropout to 0, or "
            "train the method 'joint' with modality dropout"
        )
    if method.late_fusion is not None or hasattr(network, "members"):
        raise ValueError(
            f"{name} trains networks of single modalities and joins their predictions, so there "
            "is no fusion to drop a modality from, and it takes any subset as it is: set modality "
            "dropout to 0"
        )
    if len(modalities) < 2:
        raise ValueError(
            f"modality dropout leaves one modality at least, and this network has {modalities} "
            "only: set it to 0"
        )
    dropout.rates(modalities)
    return Masking(dropout, modalities)


def check_prediction(prediction: Any, label: Any) -> None:
    """Refuse what no loss can be formed of, and an evaluation.

    Raises:
        TypeError: prediction or label is no tensor.
        RuntimeError: gradients are off.
    """
    for name, value in (("prediction", prediction), ("label", label)):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the {name} is a {type(value).__name__}, and methods take one tensor of each: "
                "give the parts that the loss is of, such as output.logits and batch['label']"
            )
    if not torch.is_grad_enabled():
        raise RuntimeError(
            "gradients are off (torch.no_grad or inference_mode), so this is no training step: in "
            "an evaluation call the network without balancer.capture(), and balancer.task.loss("
            "prediction, label) instead of balancer.loss"
        )


def check_compiled(method: Method) -> None:
    """Refuse a network that ``torch.compile`` runs, where the method differentiates twice.

    Raises:
        ValueError: it does.
    """
    if method.needs_double_backward:
        raise ValueError(
            f"{type(method).__name__} differentiates a gradient here, which torch.compile cannot: "
            "leave torch.compile out (in MONAI's trainer compile=False), or for CGGM use lam=0"
        )


def check_loop(method: Method, epochs: int | None, batches: Any, ramp: int = 0) -> None:
    """Refuse a loop that lacks what a method or a dropout needs.

    Args:
        method: what it declares is read.
        epochs: how many there are; None when the method is told of none.
        batches: the loader of the training data, or None.
        ramp: epochs in which modality dropout rises.

    Raises:
        ValueError: something is missing, or the loader gives no batch.
    """
    check_batches(batches)
    name = type(method).__name__
    if (method.needs_epochs or method.needs_batches) and epochs is None:
        raise ValueError(f"{name} acts by epochs, and this loop tells it of none: {_TELL_EPOCHS}")
    if ramp and epochs is None:
        raise ValueError(
            f"modality dropout rises over {ramp} epochs, and this loop tells it of none: "
            f"{_TELL_EPOCHS}"
        )
    if epochs is not None and ramp >= max(epochs, 1):
        raise ValueError(
            f"modality dropout rises over {ramp} epochs, so {epochs} epochs never see its full "
            f"rate: choose a ramp of {max(epochs - 1, 0)} or less, or train longer"
        )
    if method.needs_batches and batches is None:
        raise ValueError(
            f"{name} reads parts of the training data, and knows none: pass the loader, "
            "balancer.epochs(number_of_epochs, loader)"
        )
