"""The classifiers f_i of eq. 5: predictions from one modality's features alone."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .late_fusion import LateFusion
from .multimodal import MultimodalNetwork
from .segmentation import LOW_CHANNELS, SegmentationNetwork, enlarge, join, pointwise, separable
from .transformer import TokenTransformer, TransformerNetwork, padding_mask
from .volumetric import GROUPS, Levels, VolumetricNetwork, enlarge_volume, pointwise_volume


class SegmentationClassifier(nn.Module):
    """Light decoder of one sequence's features, for training only.

    Its last layer `head` has the shape of the network's, so that the gradients of both compare
    (Guo et al., eqs. 9 to 12). It has no dropout: it draws nothing from the random stream.

    Args:
        high_channels: width of the high-level features.
        low_channels: width of the low-level features.
        channels: width in front of the last layer, the same as in the network.
        classes: number of classes.
    """

    def __init__(
        self, high_channels: int, low_channels: int, *, channels: int, classes: int
    ) -> None:
        super().__init__()
        self.high = pointwise(high_channels, LOW_CHANNELS)
        self.low = pointwise(low_channels, LOW_CHANNELS)
        self.merge = separable(2 * LOW_CHANNELS, channels)
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(
        self, features: tuple[Tensor, Tensor], size: tuple[int, int] | None = None
    ) -> Tensor:
        """Predict from the features that the sequence's encoder gave.

        Args:
            features: high-level (B, high_channels, h, w), low-level (B, low_channels, H/4, W/4).
            size: height and width of the image when it was no multiple of the network's stride
                and had to be padded; the logits are cropped to it.

        Returns:
            Logits, shape (B, classes, H, W).
        """
        high, low = features
        logits = enlarge(self.head(self.merge(join(self.high(high), self.low(low)))))
        return logits if size is None else logits[:, :, : size[0], : size[1]]


class VolumeClassifier(nn.Module):
    """Light 3D decoder of one sequence's features, for training only.

    Each level is brought to one width and the levels are added; the last layer `head` has the
    shape of the network's, see :class:`SegmentationClassifier`.

    Args:
        channels: width of the finest features, and in front of the last layer.
        classes: number of classes.
    """

    def __init__(self, channels: int, *, classes: int) -> None:
        super().__init__()
        self.deep = pointwise_volume(4 * channels, channels)
        self.middle = pointwise_volume(2 * channels, channels)
        self.fine = pointwise_volume(channels, channels)
        self.merge = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.ReLU(),
            pointwise_volume(channels, channels),
            nn.ReLU(),
        )
        self.head = nn.Conv3d(channels, classes, kernel_size=1)

    def forward(self, features: Levels, size: tuple[int, int, int] | None = None) -> Tensor:
        """Predict from the features that the sequence's encoder gave.

        Args:
            features: three levels, the deepest first.
            size: extents of the image when they were no multiples of the network's stride and
                had to be padded; the logits are cropped to them.

        Returns:
            Logits, shape (B, classes, X, Y, Z).
        """
        deep, middle, fine = features
        middle = self.middle(middle) + enlarge_volume(self.deep(deep))
        merged = self.merge(self.fine(fine) + enlarge_volume(middle))
        logits = enlarge_volume(self.head(merged))
        return logits if size is None else logits[:, :, : size[0], : size[1], : size[2]]


class TransformerClassifier(nn.Module):
    """Self-attention over one modality's features and a linear layer, for training only.

    The classifier of the paper for classification and regression: 1 or 2 attention layers and a
    fully connected one (section 3.3.1). It has no dropout: it draws nothing from the random stream.

    Args:
        width: width of the features, and in front of the last layer as in the network.
        outputs: number of classes, or 1.
        heads: attention heads.
        layers: attention layers.
    """

    def __init__(self, width: int, outputs: int, *, heads: int, layers: int = 2) -> None:
        super().__init__()
        self.attention = TokenTransformer(width, heads=heads, layers=layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """Predict from (B, T, width) and lengths (B,); shape (B, outputs)."""
        values, lengths = features
        padded = padding_mask(lengths, values.shape[1])
        return self.head(token_alone(self.attention, values, padded))


def token_alone(summary: TokenTransformer, steps: Tensor, padded: Tensor) -> Tensor:
    """Summarize steps as `summary` does, with a last layer that computes the token alone.

    The other steps of that layer reach nothing. Only for a summary without dropout.
    """
    hidden, mask = summary.with_token(steps, padded)
    *earlier, last = cast("list[nn.TransformerEncoderLayer]", list(summary.transformer.layers))
    for layer in earlier:
        hidden = layer(hidden, src_key_padding_mask=mask)
    keys = last.norm1(hidden)
    seen, _ = last.self_attn(keys[:, :1], keys, keys, key_padding_mask=mask, need_weights=False)
    token = hidden[:, :1] + seen
    token = token + last.linear2(last.activation(last.linear1(last.norm2(token))))
    return cast("nn.LayerNorm", summary.transformer.norm)(token)[:, 0]


def transformer_classifiers(
    network: TransformerNetwork | LateFusion, layers: int = 2
) -> nn.ModuleDict | None:
    """Build one classifier per modality on the device and in the precision of the network.

    Args:
        network: what they are for; a late fusion needs none, its members predict by themselves.
        layers: attention layers of each; 1 or 2 in the paper, 2 in the authors' scripts.

    Returns:
        Classifiers by modality.
    """
    if isinstance(network, LateFusion):
        return None
    outputs, width = network.head.get_parameter("weight").shape

    def build() -> TransformerClassifier:
        return TransformerClassifier(width, outputs, heads=network.heads, layers=layers)

    return _classifiers(network, build)


def segmentation_classifiers(
    network: SegmentationNetwork | VolumetricNetwork | LateFusion,
) -> nn.ModuleDict | None:
    """Build one classifier per sequence on the device and in the precision of the network.

    Returns:
        Classifiers by sequence name; None for a late fusion, whose members predict by themselves.
    """
    if isinstance(network, LateFusion):
        return None
    classes, channels = network.head.get_parameter("weight").shape[:2]

    def build() -> nn.Module:
        if isinstance(network, VolumetricNetwork):
            return VolumeClassifier(channels, classes=classes)
        return SegmentationClassifier(
            network.high_channels, network.low_channels, channels=channels, classes=classes
        )

    return _classifiers(network, build)


def _classifiers(network: MultimodalNetwork, build: Callable[[], nn.Module]) -> nn.ModuleDict:
    """Build one per modality; the random state is as before afterwards.

    With and without classifiers, a run sees the same data in the same order.
    """
    weight = network.head.get_parameter("weight")
    # They are drawn on the CPU and moved, so that no device's random state is used.
    with torch.random.fork_rng(devices=[]):
        built = {name: build() for name in network.modalities}
    return nn.ModuleDict(built).to(device=weight.device, dtype=weight.dtype)
