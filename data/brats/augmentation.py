"""Augmentation: one labeled slice, or a stack of them, becomes a slightly different one.

The paper augments by "random cropping, random flipping, color jitter, adding noise" (section 4.2);
rotation is from its released code, zoom is ours. All geometry is one resampling of image and label
with one grid, and all intensity changes stay inside the brain, so that zero still means background.
The classes are MONAI dictionary transforms and can stand in any `Compose`.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, MapTransform, Randomizable  # pyright: ignore
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def train_transform(
    size: int | Sequence[int], *, strength: float = 1.0, neighbors: int = 0
) -> Compose:
    """Build the augmentation of a training slice, or of a stack of slices (C, Z, X, Y).

    Args:
        size: height and width in pixels of the random crop, as given to the data set.
        strength: 1 is the usual augmentation, 0 none at all; in between, and up to 2, ranges and
            probabilities grow in proportion (probabilities up to 1).
        neighbors: as of the data set; the slices of a sequence are changed alike.

    Raises:
        ValueError: `strength` is out of range.
    """
    if not 0 <= strength <= 2:
        raise ValueError(f"strength is {strength}; expected a number from 0 (none) to 2")
    if strength == 0:
        return Compose([])
    return Compose(
        [
            RandSliceAffined(
                size,
                prob=min(1.0, 0.7 * strength),
                degrees=15.0 * strength,
                zoom=0.15 * strength,
                flip_prob=0.5,
            ),
            RandBrainIntensityd(
                prob=min(1.0, 0.5 * strength),
                scale=0.1 * strength,
                shift=0.1 * strength,
                gamma=0.3 * strength,
                noise=0.1 * strength,
                depth=2 * neighbors + 1,
            ),
        ]
    )


class RandSliceAffined(Randomizable, MapTransform):
    """Crop, flip, rotate and zoom "image" and "label" together, in one resampling.

    Args:
        size: height and width of the result in pixels. Where the slice is larger the crop lies
            anywhere within it; where it is smaller it is centered and padded with zeros.
        prob: probability of rotating and zooming; crop and flips are drawn always.
        degrees: the rotation is uniform between minus and plus this angle.
        zoom: the magnification is log-uniform between 1 / (1 + zoom) and 1 + zoom.
        flip_prob: probability of a flip, for each of the two axes.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        prob: float = 0.7,
        degrees: float = 15.0,
        zoom: float = 0.15,
        flip_prob: float = 0.5,
    ) -> None:
        MapTransform.__init__(self, ["image", "label"])
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.prob = prob
        self.degrees = degrees
        self.zoom = zoom
        self.flip_prob = flip_prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, label = torch.as_tensor(data["image"]), torch.as_tensor(data["label"])
        shape = (image.shape[-2], image.shape[-1])
        grid = affine_grid(self.draw(shape), [1, 1, *self.size], align_corners=False)
        moved = _sample(image.float(), grid, "bilinear")
        classes = _sample(label.float(), grid, "nearest")
        return {**data, "image": moved, "label": classes.to(label.dtype)}

    def draw(self, shape: tuple[int, int]) -> Tensor:
        """Draw the map from a slice of `shape` to the result, as `affine_grid` wants it: (1, 2, 3).

        Works in pixels from the center, first axis first; `affine_grid` wants the last axis first
        and halves of the extent.
        """
        flips = [-1.0 if self.R.random() < self.flip_prob else 1.0 for _ in shape]
        angle, factor = 0.0, 1.0
        if self.R.random() < self.prob:
            angle = math.radians(self.R.uniform(-self.degrees, self.degrees))
            factor = math.exp(self.R.uniform(-1, 1) * math.log1p(self.zoom))
        cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
        matrix = torch.tensor([[cos, -sin], [sin, cos]]) * torch.tensor(flips)
        center = torch.tensor([self._offset(*sides) for sides in zip(shape, self.size)])  # noqa: B905
        inner, outer = torch.tensor(shape) / 2, torch.tensor(self.size) / 2
        matrix = matrix * outer[None, :] / inner[:, None]
        return torch.cat([matrix.flip(0, 1), (center / inner).flip(0)[:, None]], dim=1)[None]

    def _offset(self, extent: int, side: int) -> float:
        """Pixels between the center of the slice and that of the result, along one axis.

        The corner of the result lies on a whole pixel, so that without rotation and zoom no pixel
        is blended with its neighbors.
        """
        spare = extent - side
        start = self.R.randint(spare + 1) if spare > 0 else -(-spare // 2)
        return start - spare / 2


class RandBrainIntensityd(Randomizable, MapTransform):
    """Change the z-scores of "image" inside the brain, each sequence independently.

    Every one of the four changes happens with probability `prob`. Pixels that are exactly 0 are
    background and stay 0.

    Args:
        prob: probability of each change and sequence.
        scale: z-scores are multiplied by a number from 1 - scale to 1 + scale.
        shift: a number from -shift to shift is added.
        gamma: contrast; the span from the darkest to the brightest brain pixel is raised to a
            power, log-uniform from 1 / (1 + gamma) to 1 + gamma.
        noise: the standard deviation of Gaussian noise is uniform from 0 to this.
        depth: channels of a sequence, next to each other; they are changed alike.
    """

    def __init__(
        self,
        *,
        prob: float = 0.5,
        scale: float = 0.1,
        shift: float = 0.1,
        gamma: float = 0.3,
        noise: float = 0.1,
        depth: int = 1,
    ) -> None:
        MapTransform.__init__(self, ["image"])
        self.depth = depth
        self.prob = prob
        self.scale = scale
        self.shift = shift
        self.gamma = gamma
        self.noise = noise

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = torch.as_tensor(data["image"], dtype=torch.float32)
        return {
            **data,
            "image": torch.cat([self._change(part) for part in image.split(self.depth)]),
        }

    def _change(self, sequence: Tensor) -> Tensor:
        """Change one sequence, shape (depth, X, Y), or (depth, Z, X, Y) of a stack."""
        power = math.exp(self._amount(math.log1p(self.gamma)))
        factor, shift = 1 + self._amount(self.scale), self._amount(self.shift)
        noise = abs(self._amount(self.noise))
        seed = int(self.R.randint(2**31 - 1))
        brain = sequence != 0
        values = sequence[brain]
        if values.numel() == 0:
            return sequence
        if power != 1:
            low, high = values.aminmax()
            span = (high - low).clamp_min(1e-6)
            values = ((values - low) / span).pow(power) * span + low
        values = values * factor + shift
        if noise:
            draws = torch.Generator().manual_seed(seed)
            values = values + noise * torch.randn(values.shape, generator=draws)
        return torch.zeros_like(sequence).masked_scatter_(brain, values)

    def _amount(self, limit: float) -> float:
        return self.R.uniform(-limit, limit) if self.R.random() < self.prob else 0.0


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """Resample (..., X, Y), all slices alike."""
    flat = image.flatten(0, -3)[None]
    moved = grid_sample(flat, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return moved.unflatten(0, image.shape[:-2])
