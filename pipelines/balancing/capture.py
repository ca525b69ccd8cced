"""Inputs and outputs of encoders, and of members of a late fusion, in a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .features import Feature


class Capture:
    """Context manager that keeps what encoders get and give, and what members give.

    Forward hooks do it; they are there inside the context only, since one left behind would keep
    the network from being scripted. What was kept stays until the next begin.

    Args:
        encoders: one module per modality.
        network: its ``members``, where it has some, are listened to as well; its ``presence``,
            where it has it, tells which modalities each sample has.
        change: (modality, feature) to what the fusion sees instead; nothing changes without it.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        network: nn.Module,
        change: Callable[[str, Feature], Feature] | None = None,
    ) -> None:
        self.inputs: dict[str, tuple[Any, ...]] = {}
        self.features: dict[str, Feature] = {}
        self.seen: dict[str, Feature] = {}  # what the fusion got of them
        self.predictions: dict[str, Tensor] = {}
        self.available: Tensor | None = None  # which modalities each sample has; None for all
        self.is_on = False  # a compiled network asks, where it has the hooks built in
        self.is_compiled = False  # whether torch.compile ran the last forward pass
        self._change = change
        self._network = network if callable(getattr(network, "presence", None)) else None
        # Of bound methods, not closures: those of a deep copy then write to the copy.
        self._hooks = [
            (module, partial(self._keep_feature, name)) for name, module in encoders.items()
        ]
        members: Mapping[str, nn.Module] = getattr(network, "members", {})
        self._hooks += [
            (member, partial(self._keep_prediction, name)) for name, member in members.items()
        ]
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Capture:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Forget the last forward pass and listen to the next."""
        self.end()
        self.forget()
        self.is_on, self.is_compiled = True, False
        self._handles = [module.register_forward_hook(hook) for module, hook in self._hooks]
        if self._network is not None:
            hook = self._network.register_forward_pre_hook(self._ask, with_kwargs=True)
            self._handles.append(hook)

    def end(self) -> None:
        """Listen no longer, and take the hooks away."""
        self.is_on = False
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def forget(self) -> None:
        """Let go of inputs, features and predictions, and of the graphs behind them."""
        self.inputs, self.features, self.seen, self.predictions = {}, {}, {}, {}
        self.available = None

    def _ask(self, network: Any, inputs: tuple[Any, ...], settings: dict[str, Any]) -> None:
        if self.is_on:
            self.available = network.presence(*inputs, **settings)

    def _keep_feature(self, name: str, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not self.is_on:
            return None
        if torch.compiler.is_compiling():  # built in, it is said again in every pass
            self.is_compiled = True
        self.inputs[name] = inputs
        self.features[name] = output
        seen = output if self._change is None else self._change(name, output)
        self.seen[name] = seen
        return seen

    def _keep_prediction(self, name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        if self.is_on:
            self.predictions[name] = output
