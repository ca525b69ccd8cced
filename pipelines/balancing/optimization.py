"""Parameter groups of an optimizer, one per encoder, and factors on the step of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import OptState


def parameter_groups(
    network: nn.Module,
    classifiers: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
    *,
    lr: float,
    classifier_lr: float | None = None,
    encoders: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups for any optimizer: one per encoder, the rest of the network, classifiers.

    Args:
        network: a network with ``encoders``, a mapping from modality to module.
        classifiers: the classifiers f_i, trained by the same optimizer.
        lr: learning rate of the network.
        classifier_lr: learning rate of the classifiers, ``lr`` when not given.
        encoders: instead of ``network.encoders``.

    Returns:
        Dictionaries with ``params``, ``lr`` and a ``name``: ``encoder/<modality>``, ``fusion`` or
        ``classifiers``.
    """
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()  # what encoders share is in the group of the first
    for modality, encoder in encoders_of(network, encoders).items():
        own = [p for p in encoder.parameters() if id(p) not in taken]
        taken.update(map(id, own))
        groups.append({"params": own, "lr": lr, "name": f"encoder/{modality}"})
    rest = [p for p in network.parameters() if id(p) not in taken]
    groups.append({"params": rest, "lr": lr, "name": "fusion"})
    if classifiers is not None:
        rate = lr if classifier_lr is None else classifier_lr
        params = [p for classifier in classifiers.values() for p in classifier.parameters()]
        groups.append({"params": params, "lr": rate, "name": "classifiers"})
    return groups


def encoders_of(
    network: nn.Module, encoders: Mapping[str, nn.Module] | nn.ModuleDict | None = None
) -> dict[str, nn.Module]:
    """The encoders of a network by modality: those given, or the network's ``encoders``.

    Raises:
        ValueError: there are none.
    """
    modules = getattr(network, "encoders", None) if encoders is None else encoders
    if not isinstance(modules, Mapping | nn.ModuleDict) or len(modules) == 0:
        raise ValueError(
            f"{type(network).__name__} has no `encoders` that map a modality's name to a module: "
            "pass encoders={'name': module, ...}"
        )
    return dict(modules.items())


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    """All parameters that an optimizer trains."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def is_unscaled(scaler: torch.amp.GradScaler | None, optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``scaler.unscale_`` took the loss scale out of the gradients already."""
    # torch tells it nowhere else: a second `unscale_` would raise.
    states = getattr(scaler, "_per_optimizer_states", {})
    return states.get(id(optimizer), {}).get("stage") is OptState.UNSCALED


class StepFactors:
    """Factors of the coming update, one per encoder: applied for a step, then taken back.

    The factor goes into the learning rate of the encoder's parameter groups, where neither
    momentum nor Adam's normalization can undo it. Decoupled weight decay (AdamW) is kept as it
    was, since it is not part of the gradient step.
    """

    # Stands for a factor of zero: the update vanishes in any float, the decay survives.
    SMALLEST = 1e-30

    def __init__(self) -> None:
        self._before: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def apply(
        self,
        optimizer: torch.optim.Optimizer,
        encoders: Mapping[str, nn.Module],
        factors: Sequence[float],
    ) -> None:
        """Scale the learning rates of the encoders' parameter groups.

        Args:
            optimizer: its parameter groups must keep the encoders apart.
            encoders: one module per modality.
            factors: one number per encoder, in their order.

        Raises:
            ValueError: a parameter group holds parameters of an encoder together with others, or
                an encoder is in none.
        """
        named = dict(zip(encoders, factors, strict=True))
        groups = encoder_groups(optimizer, encoders)
        for modality in encoders.keys() - {modality for _, modality in groups}:
            if any(parameter.requires_grad for parameter in encoders[modality].parameters()):
                raise ValueError(
                    f"the update of the encoder of {modality!r} is to be scaled, but the "
                    "balancer's optimizer does not train it: put all encoders into one optimizer, "
                    "balancer.optimizer"
                )
        for group, modality in groups:
            factor = named[modality] or self.SMALLEST
            before = {"lr": group["lr"]}
            group["lr"] = group["lr"] * factor
            if _decay_is_decoupled(optimizer, group) and group.get("weight_decay"):
                before["weight_decay"] = group["weight_decay"]
                group["weight_decay"] = group["weight_decay"] / factor
            self._before.append((group, before))

    def undo(self) -> None:
        """Give every group its own learning rate and decay back, if they were changed."""
        for group, before in self._before:
            group.update(before)
        self._before.clear()


def encoder_groups(
    optimizer: torch.optim.Optimizer, encoders: Mapping[str, nn.Module]
) -> list[tuple[dict[str, Any], str]]:
    """Find the parameter groups that belong to one encoder each, with the encoder's modality."""
    owner = {id(p): name for name, encoder in encoders.items() for p in encoder.parameters()}
    groups = []
    for group in optimizer.param_groups:
        owners = {owner.get(id(p)) for p in group["params"]}
        if owners in ({None}, set()):
            continue
        if len(owners) > 1:
            raise ValueError(
                "the update of each encoder is to be scaled, but a parameter group of the "
                f"optimizer mixes {sorted(str(name or 'other parameters') for name in owners)}: "
                "build the optimizer with cggm.pipelines.balancing.parameter_groups(network, ...)"
            )
        groups.append((group, str(owners.pop())))
    return groups


def _decay_is_decoupled(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    decoupled = group.get("decoupled_weight_decay")
    always = (torch.optim.AdamW, torch.optim.Adafactor, torch.optim.Muon)
    return isinstance(optimizer, always) if decoupled is None else bool(decoupled)
