"""A small network that predicts every class somewhere, kept as a training keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cggm.data.brats.cases import SEQUENCES
from cggm.models import segmentation_network
from cggm.pipelines.handlers.checkpoint_file import save

NETWORK: dict[str, Any] = {"encoder": "tu-test_resnet", "channels": 8, "rates": [1, 2, 3]}


def write_model(
    folder: Path,
    sequences: Sequence[str] = SEQUENCES,
    *,
    seed: int = 0,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write the output folder of a training that never was; give it back.

    Args:
        folder: of the output.
        sequences: the network's.
        seed: of its weights.
        more: entries of its description.
    """
    torch.manual_seed(seed)
    network = segmentation_network(list(sequences), **NETWORK).eval()
    image = torch.randn(4, len(sequences), 32, 32)
    with torch.no_grad():
        network.get_parameter("head.bias").sub_(network(image).mean((0, 2, 3)))
    rates = dict.fromkeys(sequences, 0.5)
    description = {"sequences": list(sequences), "modality_dropout": rates, **NETWORK}
    description |= {"method": "joint", "smallest_et": 0.0, **(more or {})}
    (folder / "models").mkdir(parents=True)
    content = {"network": network.state_dict(), "description": description}
    save(content, folder / "models" / "last.pt")
    return folder
