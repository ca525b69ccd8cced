"""The segmentation network: one DeepLabV3+ encoder per MRI sequence, and their fusion."""

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP, SeparableConv2d
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import LOW_LEVEL, LOW_STRIDE, build_backbone
from .multimodal import MultimodalNetwork, check_modalities
from .pooled_norm import PooledBatchNorm
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
        neighbors: slices before and after the one that is segmented which an encoder sees, too.
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
        neighbors: int = 0,
        channels: int = 256,
        rates: tuple[int, int, int] = (6, 12, 18),
    ) -> None:
        if isinstance(sequences, str):
            raise ValueError(f"sequences must be a list of names, got the text {sequences!r}")
        check_modalities(list(sequences))
        if neighbors < 0:
            raise ValueError(f"neighbors is {neighbors}; it is a number of slices, 0 or more")
        depth = 2 * neighbors + 1
        encoders = {
            name: SequenceEncoder(encoder, weights, channels, rates, depth) for name in sequences
        }
        super().__init__(encoders)
        one = encoders[sequences[0]]
        self.stride = one.stride
        self.rates = tuple(rates)
        self.neighbors, self.depth = neighbors, depth
        self.high_channels, self.low_channels = channels, one.low_channels
        self.fusion = ConvolutionalFusion(len(encoders), channels, one.low_channels)
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        """Segment a batch of slices.

        The features of an absent sequence are zeros in the fusion. Nothing else changes: scaling
        the rest by S / (number present) was measured to be worse (docs/balancing.md).

        Args:
            image: normalized slices, one channel per sequence, shape (B, S, H, W), any H and W;
                with n neighbors (B, S (2n + 1), H, W), the slices of a sequence next to each other
                in their order.
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
        running statistics. A sequence that no slice has is not in the result, except in training,
        where its features are zeros: every method finds those of all sequences.

        Args:
            image: as in `forward`.
            present: likewise.

        Returns:
            By name, high-level features (B, channels, H / stride, W / stride) and low-level
            features (B, low_channels, H / 4, W / 4), zero for slices without the sequence.
        """
        if not torch.jit.is_scripting():
            check_image(image, self.modalities, "slices", "H, W", self.depth)
        rows = rows_of(present, image.shape[0], len(self.modalities), "slice")
        image = F.pad(image, [0, -image.shape[3] % self.stride, 0, -image.shape[2] % self.stride])
        features: dict[str, tuple[Tensor, Tensor]] = {}
        for index, (name, encoder) in enumerate(self.encoders.items()):
            own = image[:, index * self.depth : (index + 1) * self.depth]
            if rows is None or bool(rows[:, index].all()):
                features[name] = encoder(own)
            elif self.training or bool(rows[:, index].any()):
                features[name] = encoder(own, rows[:, index])
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
        depth: slices that it sees at once.
    """

    def __init__(
        self,
        encoder: str,
        weights: str | None,
        channels: int,
        rates: tuple[int, int, int],
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.backbone, self.stride = build_backbone(encoder, weights, depth)
        widths: list[int] = list(self.backbone.out_channels)  # pyright: ignore
        self.low_level = LOW_LEVEL  # TorchScript sees attributes, not globals
        self.low_channels = widths[LOW_LEVEL]
        self.aspp = ASPP(widths[-1], channels, rates, separable=True, dropout=DROPOUT)
        # The third layer of the pooling branch normalizes one value per channel and image.
        self.aspp.convs[-1].register_module("2", PooledBatchNorm(channels))

    def forward(self, image: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give high- and low-level features of one sequence, shape (B, depth, H, W).

        Args:
            image: of one sequence.
            rows: which slices have it, bool (B,); the features of the others are zeros.
        """
        if rows is None:
            return self._levels(image)
        if not bool(rows.any()):
            return self._zeros(image)
        high, low = self._levels(image[rows])
        return spread(high, rows), spread(low, rows)

    def _levels(self, image: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.backbone(image)
        return self.aspp(levels[-1]), levels[self.low_level]

    @torch.jit.unused
    def _zeros(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features where no slice has the sequence, for training.

        Every parameter gets a gradient, of zeros, as several processes have to exchange one.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()  # running statistics and random numbers stay as they are
        high, low = self._levels(torch.zeros_like(image[:1]))
        for module, mode in modes:
            module.training = mode
        count = image.shape[0]
        return 0 * high.expand(count, -1, -1, -1), 0 * low.expand(count, -1, -1, -1)


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
