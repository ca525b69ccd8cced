"""The way of a batch of features to the network's device."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor

Inputs = dict[str, tuple[Tensor, Tensor]]


class PrepareFeatures(PrepareBatch):
    """Move ``inputs`` and ``label`` of a batch to a device; the ids stay in the engine's batch."""

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Inputs, Tensor | None]:
        """Give inputs and label.

        Args:
            batchdata: ``inputs`` by modality, features (B, T, D) and lengths (B,), and ``label``,
                which may be missing.
            device: where they go.
            non_blocking: do not wait for a copy from pinned memory.
            kwargs: further settings of ``Tensor.to`` for the features; lengths and class numbers
                keep their type.
        """

        def moved(tensor: Tensor, **settings: Any) -> Tensor:
            return tensor.to(device=device, non_blocking=non_blocking, **settings)

        inputs = {
            modality: (moved(values, **kwargs), moved(lengths))
            for modality, (values, lengths) in batchdata["inputs"].items()
        }
        label = batchdata.get("label")
        return inputs, moved(label) if isinstance(label, Tensor) else None
