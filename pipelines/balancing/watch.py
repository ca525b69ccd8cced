"""What did encoders, and members of a late fusion, get and give in this forward pass?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


class Watch:
    """Keeps what encoders get and give, and what members give, while a network trains.

    Forward hooks do it.

    Args:
        encoders: one module per modality.
        network: its ``members``, where it has some, are watched too.
        change: (modality, feature) to what the fusion sees instead.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        network: nn.Module,
        change: Callable[[str, Any], Any],
    ) -> None:
        self.inputs: dict[str, tuple[Any, ...]] = {}
        self.features: dict[str, Any] = {}
        self.predictions: dict[str, Tensor] = {}
        self.is_on = False  # not while others, such as a validation, use the network
        self._change = change
        members = getattr(network, "members", {})
        self._hooks = [
            *(e.register_forward_hook(self._feature(name)) for name, e in encoders.items()),
            *(m.register_forward_hook(self._prediction(name)) for name, m in members.items()),
        ]

    def begin(self) -> None:
        """Forget the last forward pass and listen to the next."""
        self.forget()
        self.is_on = True

    def end(self) -> None:
        """Listen no longer."""
        self.is_on = False

    def forget(self) -> None:
        """Let go of inputs, features and predictions, and of the graphs behind them."""
        self.inputs, self.features, self.predictions = {}, {}, {}

    def remove(self) -> None:
        """Take the hooks away: one left behind would keep the network from being scripted."""
        self.forget()
        for hook in self._hooks:
            hook.remove()

    def _feature(self, name: str) -> Any:
        def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            if not self.is_on:
                return None
            self.inputs[name] = inputs
            self.features[name] = output
            return self._change(name, output)

        return keep

    def _prediction(self, name: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            if self.is_on:
                self.predictions[name] = output

        return keep
