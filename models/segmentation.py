"""The segmentation network: one DeepLabV3+ encoder per MRI sequence, and their fusion."""

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP, SeparableConv2d
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import LOW_LEVEL, LOW_STRIDE, build_backbone
from .multimodal import MultimodalNetwork, check_modalities
from .presence import available_rows, check_image, hide, rows_of, spread

LOW_CHANNELS = 48  # width of the low-level path, as in the DeepLabV3+ paper
DROPOUT = 0.1  # after the pyramid pooling, as in the DeepLab authors' own code


class SegmentationNetwork(MultimodalNetwork):
    """One DeepLabV3+ encoder per sequence, fused by convolutions (Guo et al., section 4.2).

    A list of one sequence gives a unimodal network. A sequence that a patient does not have is
    left out of the fusion, see `forward`.

    Args:
        sequences: names of the input channels, in their order.
        encoder: a backbone of segmentation-models-pytorch, or one of timm as "tu-<name>".
        weights: start of every backbone: a name such as "imagenet", which is downloaded, or the
            path of a state dict; random and different for each sequence when None.
        classes: number of classes, background included.
        channels: width of the pyramid pooling and of the fusion (256 in DeepLabV3+).
        rates: dilations of the pyramid pooling. A rate beyond (side of the image / 16) reaches
            only padding, so small images want small rates.

    Raises:
        ValueError: when a sequence's name is empty, given twice or not usable, when the backbone
            is unknown, or when the weights do not fit it.
    """

    def __init__(
        self,
        sequences: list[str] | tuple[str, ...] = ("flair", "t1", "t1ce", "t2"),
        *,
        encoder: str = "resnet18",
        weights: str | None = None,
        classes: int = 4,
        channels: int = 256,
        rates: tuple[int, int, int] = (6, 12, 18),
    ) -> None:
        if isinstance(sequences, str):
            raise ValueError(f"sequences must be a list of names, got the text {sequences!r}")
        check_modalities(list(sequences))
        encoders = {name: SequenceEncoder(encoder, weights, channels, rates) for name in sequences}
        super().__init__(encoders)
        one = encoders[sequences[0]]
        self.stride = one.stride
        self.rates = tuple(rates)
        self.high_channels, self.low_channels = channels, one.low_channels
        self.fusion = ConvolutionalFusion(len(encoders), channels, one.low_channels)
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        """Segment a batch of slices.

        The features of an absent sequence are zeros in the fusion. Nothing else changes: scaling
        the rest by S / (number present) was measured to be worse (docs/balancing.md).

        Args:
            image: normalized slices, one channel per sequence, shape (B, S, H, W), any H and W.
            present: which sequences exist, for the batch or for each slice, shape (S,) or (B, S).

        Returns:
            Logits at the resolution of the image, shape (B, classes, H, W).

        Raises:
            ValueError: when the channels are not the network's, or a slice has no sequence.
        """
        logits = self.fuse(self.encode(image, present), present)
        return logits[:, :, : image.shape[2], : image.shape[3]]

    @torch.jit.unused
    def presence(self, image: Tensor, present: Tensor | None = None) -> Tensor | None:
        """Tell which sequences each slice has, bool (B, S), None for all; see `forward`."""
        return rows_of(present, image.shape[0], len(self.modalities), "slice")

    def encode(
        self, image: Tensor, present: Tensor | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Give the features of each sequence, of the image padded to a multiple of `stride`.

        An encoder sees only the slices that have its sequence, so that nothing else reaches its
        running statistics. A sequence that no slice has is not in the result.

        Args:
            image: shape (B, S, H, W).
            present: as in `forward`.

        Returns:
            By name, high-level features (B, channels, H / stride, W / stride) and low-level
            features (B, low_channels, H / 4, W / 4), zero for slices without the sequence.
        """
        if not torch.jit.is_scripting():
            check_image(image, self.modalities, "slices", "H, W")
        rows = rows_of(present, image.shape[0], len(self.modalities), "slice")
        image = F.pad(image, [0, -image.shape[3] % self.stride, 0, -image.shape[2] % self.stride])
        features: dict[str, tuple[Tensor, Tensor]] = {}
        for index, (name, encoder) in enumerate(self.encoders.items()):
            channel = image[:, index : index + 1]
            if rows is None or bool(rows[:, index].all()):
                features[name] = encoder(channel)
            elif bool(rows[:, index].any()):
                high, low = encoder(channel[rows[:, index]])
                features[name] = (spread(high, rows[:, index]), spread(low, rows[:, index]))
        return features

    def fuse(
        self, features: dict[str, tuple[Tensor, Tensor]], present: Tensor | None = None
    ) -> Tensor:
        """Give logits from the features of `encode`; a sequence without features is absent.

        Args:
            features: by name, as from `encode`.
            present: as in `forward`.

        Returns:
            Logits of the padded image, shape (B, classes, H, W), which `forward` crops.
        """
        rows = self._available(features, present)
        first = list(features.values())[0]
        highs: list[Tensor] = []
        lows: list[Tensor] = []
        for index, name in enumerate(self.modalities):
            high, low = features.get(name, first)
            highs.append(hide(high, rows, index))
            lows.append(hide(low, rows, index))
        logits = self.head(self.fusion(torch.cat(highs, dim=1), torch.cat(lows, dim=1)))
        return enlarge(logits)

    def _available(
        self, features: dict[str, tuple[Tensor, Tensor]], present: Tensor | None
    ) -> Tensor | None:
        """Tell which sequences the fusion gets, shape (B, S), or None when it gets them all."""
        if len(features) == 0:
            raise ValueError("at least one sequence must be present, got features of none")
        high, _ = list(features.values())[0]
        rows = rows_of(present, high.shape[0], len(self.modalities), "slice")
        return available_rows(list(features.keys()), self.modalities, rows, high)


class SequenceEncoder(nn.Module):
    """DeepLabV3+ encoder of one sequence: a backbone, and atrous pyramid pooling on its output.

    Args:
        encoder: name of the backbone.
        weights: its start, see `SegmentationNetwork`.
        channels: width of the pyramid pooling.
        rates: its three dilations.
    """

    def __init__(
        self, encoder: str, weights: str | None, channels: int, rates: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.backbone, self.stride = build_backbone(encoder, weights)
        widths: list[int] = list(self.backbone.out_channels)  # pyright: ignore
        self.low_level = LOW_LEVEL  # TorchScript sees attributes, not globals
        self.low_channels = widths[LOW_LEVEL]
        self.aspp = ASPP(widths[-1], channels, rates, separable=True, dropout=DROPOUT)
        # The third layer of the pooling branch normalizes one value per channel and image.
        self.aspp.convs[-1].register_module("2", PooledBatchNorm(channels))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give high- and low-level features of one channel, shape (B, 1, H, W)."""
        levels = self.backbone(image)
        return self.aspp(levels[-1]), levels[self.low_level]


class PooledBatchNorm(nn.Module):
    """Batch normalization after global pooling that can also train on a batch of one.

    One value per channel has no variance and torch refuses it; the running statistics stand in.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, pooled: Tensor) -> Tensor:
        """Normalize means over whole images, shape (B, channels, 1, 1)."""
        if self.training and pooled.shape[0] == 1:
            norm = self.norm
            mean, variance = norm.running_mean, norm.running_var
            return F.batch_norm(pooled, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        return self.norm(pooled)


class ConvolutionalFusion(nn.Module):
    """Omega: the DeepLabV3+ decoder on the concatenated features of all sequences.

    Args:
        sequences: how many are concatenated.
        channels: width of one sequence's high-level features, and of the result.
        low_channels: width of one sequence's low-level features.
    """

    def __init__(self, sequences: int, channels: int, low_channels: int) -> None:
        super().__init__()
        self.high = nn.Sequential(
            pointwise(sequences * channels, channels), separable(channels, channels)
        )
        self.low = pointwise(sequences * low_channels, LOW_CHANNELS)
        self.merge = nn.Sequential(
            separable(channels + LOW_CHANNELS, channels), separable(channels, channels)
        )

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Fuse high-level (B, S * channels, h, w) and low-level features (B, S * C, H/4, W/4).

        Returns:
            Fused features, shape (B, channels, H/4, W/4).
        """
        return self.merge(join(self.high(high), self.low(low)))


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """Build a 1x1 convolution with batch normalization and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """Build a separable 3x3 convolution with batch normalization and ReLU."""
    convolution = SeparableConv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def join(high: Tensor, low: Tensor) -> Tensor:
    """Enlarge high-level features to the low-level ones and concatenate both."""
    size = [low.shape[2], low.shape[3]]
    high = F.interpolate(high, size=size, mode="bilinear", align_corners=False)
    return torch.cat([high, low], dim=1)


def enlarge(logits: Tensor, factor: int = LOW_STRIDE) -> Tensor:
    """Bring logits from a quarter of the resolution to the whole."""
    size = [factor * logits.shape[2], factor * logits.shape[3]]
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
