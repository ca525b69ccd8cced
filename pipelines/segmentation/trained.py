"""A trained network for segmentation: its weights and what lies beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...data.errors import InputError
from ...models import segmentation_network
from ..handlers.checkpoint_file import load_network, read_description

# What is evaluated and what segments, the first that is there: the last epoch, as in all figures
# of the README; the epoch with the best validation where a model was passed on without the other.
WEIGHTS = ("last.pt", "model.pt")

_NEEDED = ("sequences", "encoder", "channels", "rates")


def trained_settings(path: str | Path) -> dict[str, Any]:
    """Say what a network was built and trained as, so that nobody has to repeat it.

    Args:
        path: a ``last.pt``, or a ``model.pt`` with its ``model.json`` beside it.

    Returns:
        ``sequences``, ``encoder``, ``channels``, ``rates``, ``architecture`` and ``patch_size``
        (none of both means DeepLabV3+ and slices), and ``late_fusion`` where there is one.

    Raises:
        InputError: there are no weights, or nothing says how their network was built.
    """
    flags = ", ".join(f"--{name}" for name in _NEEDED)
    return read_description(path, _NEEDED, remedy=f"copy both, or pass {flags} as in training")


def trained_network(
    path: str | Path, *, device: str | torch.device = "cpu"
) -> tuple[nn.Module, list[str]]:
    """Build the network of some weights and load them.

    Args:
        path: as for :func:`trained_settings`.
        device: where the network goes.

    Returns:
        The network, ready to segment, and its sequences in the order of its channels.

    Raises:
        InputError: the weights or what says how they were built are missing or damaged.
    """
    trained = trained_settings(path)
    network = segmentation_network(
        trained["sequences"],
        architecture=trained.get("architecture", "deeplabv3plus"),
        late_fusion=trained.get("late_fusion"),
        encoder=trained["encoder"],
        channels=trained["channels"],
        rates=trained["rates"],
    )
    return load_network(path, network).to(device).eval(), list(trained["sequences"])


def weights_in(path: str | Path) -> Path:
    """Find the weights of a model.

    Args:
        path: the output folder of a training, its folder ``models``, or the weights themselves.

    Raises:
        InputError: no weights are there.
    """
    path = Path(path)
    if path.is_file():
        return path
    places = [folder / name for folder in (path / "models", path) for name in WEIGHTS]
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"there is no model in {path}: neither {' nor '.join(map(str, places))} exists; give the "
        "--output_dir of a training, or the path of its weights"
    )


def default_weights(output_dir: str | Path) -> str:
    """Give the weights of a training that evaluation and inference take when none are named."""
    places = [Path(output_dir) / "models" / name for name in WEIGHTS]
    return str(next((place for place in places if place.is_file()), places[0]))
