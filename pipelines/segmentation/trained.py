"""A trained network for segmentation: its weights and what lies beside them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...data.errors import InputError
from ...models import segmentation_network
from ..handlers.checkpoint_file import Weights, files_of, load_network, read_description
from .averaging import averaged
from .outputs import output_channels

# What is evaluated and what segments, the first that is there: the last epoch, as in all figures
# of the README; the epoch with the best validation where a model was passed on without the other.
WEIGHTS = ("last.pt", "model.pt")

_NEEDED = ("sequences", "encoder", "channels", "rates")
_OPTIONAL = {
    "architecture": "deeplabv3plus",
    "patch_size": None,
    "late_fusion": None,
    "outputs": "classes",
    "neighbors": 0,
}


def trained_settings(path: Weights) -> dict[str, Any]:
    """Say what a network was built and trained as, so that nobody has to repeat it.

    Args:
        path: a ``last.pt``, or a ``model.pt`` with its ``model.json`` beside it; or several, of
            networks that are alike.

    Returns:
        ``sequences``, ``encoder``, ``channels``, ``rates``, and where the training told them
        ``architecture`` and ``patch_size`` (none of both means DeepLabV3+ and slices),
        ``late_fusion``, ``outputs`` and ``neighbors``.

    Raises:
        InputError: there are no weights, nothing says how their network was built, or several are
            not alike.
    """
    flags = ", ".join(f"--{name}" for name in (*_NEEDED, *_OPTIONAL))
    remedy = f"copy both, or pass {flags} as in training"
    files = files_of(path)
    first, *others = (read_description(file, _NEEDED, remedy=remedy) for file in files)
    for file, told in zip(files[1:], others, strict=True):
        for name, usual in {**dict.fromkeys(_NEEDED), **_OPTIONAL}.items():
            was, now = first.get(name, usual), told.get(name, usual)
            if was != now:
                raise InputError(
                    f"{file} was trained with {name} {now}, {files[0]} with {was}: networks that "
                    "segment together are alike; leave one of them out"
                )
    return first


def trained_network(
    path: Weights, *, device: str | torch.device = "cpu"
) -> tuple[nn.Module, list[str]]:
    """Build the network of some weights and load them.

    Args:
        path: as for :func:`trained_settings`.
        device: where the network goes.

    Returns:
        The network, ready to segment, the mean of all where there are several; and its sequences in
        the order of its channels.

    Raises:
        InputError: the weights or what says how they were built are missing or damaged.
    """
    trained = complete_settings(path)
    try:
        network = network_of(trained)
    except Exception as error:  # each backbone refuses its own way
        reason = str(error).partition("\n")[0]
        raise InputError(f"what {path} was built as makes no network: {reason}") from error
    networks = load_networks(path, network)
    return averaged(networks).to(device).eval(), list(trained["sequences"])


def complete_settings(path: Weights) -> dict[str, Any]:
    """Say all that makes the network of some weights, defaults included.

    Args:
        path: as for :func:`trained_settings`.

    Raises:
        InputError: as there.
    """
    trained = trained_settings(path)
    return {name: trained.get(name, _OPTIONAL.get(name)) for name in (*_NEEDED, *_OPTIONAL)}


def network_of(settings: Mapping[str, Any]) -> nn.Module:
    """Build the network of :func:`complete_settings`, not trained."""
    return segmentation_network(
        settings["sequences"],
        architecture=settings["architecture"],
        late_fusion=settings["late_fusion"],
        encoder=settings["encoder"],
        channels=settings["channels"],
        rates=settings["rates"],
        neighbors=settings["neighbors"],
        classes=output_channels(settings["outputs"]),
    )


def load_networks(
    path: Weights, network: nn.Module, *, description: Mapping[str, Any] | None = None
) -> list[nn.Module]:
    """Load each file of weights into a network of its own.

    Args:
        path: one file or more.
        network: gets the weights of the first; the others go into copies.
        description: what it is, see :func:`cggm.pipelines.handlers.load_network`.

    Raises:
        InputError: a file cannot be read or belongs to another network.
    """
    first, *others = files_of(path)
    copies = [(file, copy.deepcopy(network)) for file in others]
    return [load_network(f, n, description=description) for f, n in [(first, network), *copies]]


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
