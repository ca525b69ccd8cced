"""Encoders: what one is, and what those around a network share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ...data.errors import InputError
from .media import first_line
from .network import Network
from .options import Options


class Encoder(Protocol):
    """Turns inputs of one kind into sequences of vectors.

    Attributes:
        kind: "text", "image", "audio" or "video".
        name: of the model.
        width: D, of each vector.
        about: model, revision, pooling and every other setting that its features depend on.
        batch_size: samples that `encode` should get at once.
    """

    kind: str
    name: str
    width: int
    about: dict[str, Any]
    batch_size: int

    def read(self, source: Any) -> Any:
        """Read one input; may run in a thread.

        Raises:
            Unusable: with the reason, when no features can be taken from it.
        """
        ...

    def size(self, source: Any) -> float:
        """Guess how long a sequence will be, without reading it; only the order matters."""
        ...

    def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Give float32 features (T, D) of each input, the same whatever else is in the batch."""
        ...


class NetworkEncoder:
    """An :class:`Encoder` around a network.

    Subclasses add `read`, `encode` and `example`, and end their constructor with :meth:`try_out`.

    Args:
        kind: of the inputs.
        name: of the model.
        revision: of the model.
        network: on its device, at its precision.
        options: pooling and batch size are taken from these.
        versions: of the libraries beside torch.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        revision: str,
        network: Network,
        options: Options,
        versions: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self.name = name
        self.network = network
        self.pooling = options.pooling_of(kind)
        self.batch_size = options.batch_size_of(kind)
        self.width = 0
        self.about: dict[str, Any] = {
            "kind": kind,
            "model": name,
            "revision": revision,
            "versions": {**versions, "torch": torch.__version__},
            "pooling": self.pooling,
            "precision": network.precision,
            "device": network.device.type,
        }

    def size(self, source: Any) -> float:
        """Give 0: all inputs are alike."""
        return 0.0

    def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """See :class:`Encoder`."""
        raise NotImplementedError

    def example(self) -> Any:
        """Make an input as `read` gives them."""
        raise NotImplementedError

    def try_out(self) -> None:
        """Encode the example, for the width of its features.

        Raises:
            InputError: the model does not take such inputs, or gives no finite features for them.
        """
        try:
            (features,) = self.encode([self.example()])
        except Exception as error:  # each model and each preprocessing has checks of its own
            raise InputError(
                f"the model {self.name} cannot be used for {self.kind} ({first_line(error)}); "
                "choose an encoder made for such inputs, or mend its preprocessor_config.json"
            ) from error
        if not np.isfinite(features).all():
            raise InputError(
                f"the model {self.name} gives NaN or infinite values at precision "
                f"{self.network.precision}; use --precision float32, or mend its weights, or the "
                "mean and std in its preprocessor_config.json"
            )
        self.width = int(features.shape[1])
