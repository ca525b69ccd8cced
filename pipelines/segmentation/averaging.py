"""The mean of several predictions: of an image and its flips, and of several networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from .outputs import mean_logits
from .slice_inference import neighbors_of

# Axes of an image (B, S, X, Y, ...) that are turned round: none, left-right, front-back, both;
# training flips along the same two.
FLIPS = ((), (2,), (3,), (2, 3))


class AveragedNetwork(nn.Module):
    """Several predictions as one network: logits whose probabilities are the mean of theirs.

    Its calls are those of the networks, so that whatever segments with one network can take it:
    also :class:`.SubsetInferer`, where all of them encode and fuse apart.

    Args:
        networks: one or more, of the same inputs and outputs.
        flips: whether each also sees the image flipped left-right, front-back and both ways.
    """

    def __init__(self, networks: Sequence[nn.Module], *, flips: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.stride = math.lcm(*(int(getattr(n, "stride", 1)) for n in networks))
        self.neighbors = neighbors_of(networks[0])
        self.views = [(n, axes) for n in networks for axes in (FLIPS if flips else FLIPS[:1])]

    @property
    def can_fuse(self) -> bool:
        """Whether all networks encode and fuse apart."""
        return all(getattr(network, "can_fuse", False) for network in self.networks)

    def forward(self, image: Tensor, *args: Any, **more: Any) -> Tensor:
        """Give logits (B, classes, X, Y, ...) of images (B, S, X, Y, ...)."""
        return mean_logits(
            network(image.flip(axes), *args, **more).flip(axes) for network, axes in self.views
        )

    def encode(self, image: Tensor, *args: Any, **more: Any) -> dict[str, list[Any]]:
        """Give the features of each sequence, those of all views."""
        # Here, since a network pads on the right: after a flip that is another side.
        sides = reversed(image.shape[2:])
        padded = pad(image, [p for side in sides for p in (0, -side % self.stride)])
        views: list[dict[str, Any]] = [
            network.encode(padded.flip(axes), *args, **more)  # type: ignore[operator]
            for network, axes in self.views
        ]
        return {name: [view[name] for view in views] for name in views[0]}

    def fuse(self, features: dict[str, list[Any]]) -> Tensor:
        """Give logits of the padded image from the features of `encode`, or of some sequences."""
        views = [
            (network, axes, {name: parts[i] for name, parts in features.items()})
            for i, (network, axes) in enumerate(self.views)
        ]
        return mean_logits(network.fuse(parts).flip(axes) for network, axes, parts in views)  # type: ignore[operator]


def averaged(networks: nn.Module | Sequence[nn.Module], *, flips: bool = False) -> nn.Module:
    """Give the network that segments: the only one, or the mean of several or over flips.

    Args:
        networks: one or more that take images (B, S, X, Y, ...).
        flips: see :class:`AveragedNetwork`.
    """
    several = [networks] if isinstance(networks, nn.Module) else list(networks)
    return several[0] if len(several) == 1 and not flips else AveragedNetwork(several, flips=flips)
