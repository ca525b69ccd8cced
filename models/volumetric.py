"""The volumetric network: one 3D residual encoder per MRI sequence, and their fusion."""

import torch
from monai.networks.blocks.segresnet_block import ResBlock
from torch import Tensor, nn
from torch.nn import functional as F

from .multimodal import MultimodalNetwork, check_modalities
from .presence import available_rows, check_image, hide, rows_of, spread

GROUPS = 8  # of the normalization, as in SegResNet
STRIDE = 8  # of the deepest features

Levels = tuple[Tensor, Tensor, Tensor]


class VolumetricNetwork(MultimodalNetwork):
    """One encoder of SegResNet's residual blocks per sequence, fused on three levels.

    Blocks and group normalization are those of SegResNet (Myronenko 2018, in MONAI); encoders,
    fusion and sizes are ours: features at strides 2, 4 and 8, a 1x1x1 convolution per level over
    the features of all sequences, and one decoder that adds the finer levels on its way up. An
    absent sequence is zeros in the fusion, see `forward`.

    Args:
        sequences: names of the input channels, in their order; one gives a unimodal network.
        classes: number of classes, background included.
        channels: width of the finest features, a multiple of 8; it doubles at each level below.

    Raises:
        ValueError: when a sequence's name is empty, given twice or not usable, or `channels` is
            no multiple of 8.
    """

    def __init__(
        self,
        sequences: list[str] | tuple[str, ...] = ("flair", "t1", "t1ce", "t2"),
        *,
        classes: int = 4,
        channels: int = 16,
    ) -> None:
        if isinstance(sequences, str):
            raise ValueError(f"sequences must be a list of names, got the text {sequences!r}")
        if channels < 1 or channels % GROUPS:
            raise ValueError(f"channels is {channels}; it must be a multiple of {GROUPS}")
        check_modalities(list(sequences))
        super().__init__({name: VolumeEncoder(channels) for name in sequences})
        self.stride = STRIDE  # TorchScript sees attributes, not globals
        self.channels = channels
        self.fusion = LevelFusion(len(sequences), channels)
        self.head = nn.Conv3d(channels, classes, kernel_size=1)

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        """Segment a batch of volumes or of patches of them.

        The features of an absent sequence are zeros in the fusion, and nothing else changes.

        Args:
            image: normalized, one channel per sequence, shape (B, S, X, Y, Z), any X, Y and Z.
            present: which sequences exist, for the batch or for each sample, (S,) or (B, S).

        Returns:
            Logits at the resolution of the image, shape (B, classes, X, Y, Z).

        Raises:
            ValueError: when the channels are not the network's, or a sample has no sequence.
        """
        logits = self.fuse(self.encode(image, present), present)
        return logits[:, :, : image.shape[2], : image.shape[3], : image.shape[4]]

    @torch.jit.unused
    def presence(self, image: Tensor, present: Tensor | None = None) -> Tensor | None:
        """Tell which sequences each sample has, bool (B, S), None for all; see `forward`."""
        return rows_of(present, image.shape[0], len(self.modalities), "volume")

    def encode(self, image: Tensor, present: Tensor | None = None) -> dict[str, Levels]:
        """Give the features of each sequence, of the image padded to a multiple of 8.

        An encoder sees only the samples that have its sequence. A sequence that no sample has is
        not in the result, except in training, where its features are zeros: every method finds
        those of all sequences.

        Args:
            image: shape (B, S, X, Y, Z).
            present: as in `forward`.

        Returns:
            By name, three levels of features, the deepest first: (B, 4 channels, X / 8, ...),
            (B, 2 channels, X / 4, ...) and (B, channels, X / 2, ...), zero for samples without
            the sequence.
        """
        if not torch.jit.is_scripting():
            check_image(image, self.modalities, "volumes", "X, Y, Z")
        rows = rows_of(present, image.shape[0], len(self.modalities), "volume")
        x, y, z = image.shape[2], image.shape[3], image.shape[4]
        image = F.pad(image, [0, -z % self.stride, 0, -y % self.stride, 0, -x % self.stride])
        features: dict[str, Levels] = {}
        for index, (name, encoder) in enumerate(self.encoders.items()):
            channel = image[:, index : index + 1]
            if rows is None or bool(rows[:, index].all()):
                features[name] = encoder(channel)
            elif self.training or bool(rows[:, index].any()):
                features[name] = encoder(channel, rows[:, index])
        return features

    def fuse(self, features: dict[str, Levels], present: Tensor | None = None) -> Tensor:
        """Give logits from the features of `encode`; a sequence without features is absent.

        Args:
            features: by name, as from `encode`.
            present: as in `forward`.

        Returns:
            Logits of the padded image, shape (B, classes, X, Y, Z), which `forward` crops.
        """
        if len(features) == 0:
            raise ValueError("at least one sequence must be present, got features of none")
        first = list(features.values())[0]
        rows = rows_of(present, first[0].shape[0], len(self.modalities), "volume")
        rows = available_rows(list(features.keys()), self.modalities, rows, first[0])
        deeps: list[Tensor] = []
        middles: list[Tensor] = []
        fines: list[Tensor] = []
        for index, name in enumerate(self.modalities):
            deep, middle, fine = features.get(name, first)
            deeps.append(hide(deep, rows, index))
            middles.append(hide(middle, rows, index))
            fines.append(hide(fine, rows, index))
        levels = (torch.cat(deeps, dim=1), torch.cat(middles, dim=1), torch.cat(fines, dim=1))
        return enlarge_volume(self.head(self.fusion(levels)))


class VolumeEncoder(nn.Module):
    """Residual encoder of one sequence: strides 2, 4 and 8, with twice the width at each.

    Args:
        channels: width of the finest features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fine = down(1, channels)
        self.middle = down(channels, 2 * channels)
        self.deep = down(2 * channels, 4 * channels)

    def forward(self, image: Tensor, rows: Tensor | None = None) -> Levels:
        """Give three levels of features of one channel (B, 1, X, Y, Z), the deepest first.

        Args:
            image: of one sequence.
            rows: which samples have it, bool (B,); the features of the others are zeros. Where
                none has it, every parameter still gets a gradient, of zeros, as several processes
                have to exchange one.
        """
        if rows is None:
            return self._levels(image)
        if bool(rows.any()):
            deep, middle, fine = self._levels(image[rows])
            return spread(deep, rows), spread(middle, rows), spread(fine, rows)
        deep, middle, fine = self._levels(torch.zeros_like(image[:1]))
        sizes = [image.shape[0], -1, -1, -1, -1]
        return 0 * deep.expand(sizes), 0 * middle.expand(sizes), 0 * fine.expand(sizes)

    def _levels(self, image: Tensor) -> Levels:
        fine = self.fine(image)
        middle = self.middle(fine)
        return self.deep(middle), middle, fine


class LevelFusion(nn.Module):
    """Omega: on each level a 1x1x1 convolution over the sequences, then a decoder with skips.

    Args:
        sequences: how many are concatenated.
        channels: width of one sequence's finest features, and of the result.
    """

    def __init__(self, sequences: int, channels: int) -> None:
        super().__init__()
        self.deep = pointwise_volume(sequences * 4 * channels, 4 * channels)
        self.middle = pointwise_volume(sequences * 2 * channels, 2 * channels)
        self.fine = pointwise_volume(sequences * channels, channels)
        self.decode = LevelDecoder(channels)

    def forward(self, levels: Levels) -> Tensor:
        """Fuse concatenated levels, the deepest first; shape (B, channels, X / 2, ...)."""
        deep, middle, fine = levels
        return self.decode((self.deep(deep), self.middle(middle), self.fine(fine)))


class LevelDecoder(nn.Module):
    """From three levels to the finest: each coarser one is narrowed, enlarged and added.

    Args:
        channels: width of the finest level, and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_middle = pointwise_volume(4 * channels, 2 * channels)
        self.middle = residual(2 * channels)
        self.to_fine = pointwise_volume(2 * channels, channels)
        self.fine = residual(channels)
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.ReLU())

    def forward(self, levels: Levels) -> Tensor:
        """Decode levels of 4, 2 and 1 times `channels`; shape (B, channels, X / 2, ...)."""
        deep, middle, fine = levels
        middle = self.middle(middle + enlarge_volume(self.to_middle(deep)))
        return self.last(self.fine(fine + enlarge_volume(self.to_fine(middle))))


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Build a convolution of stride 2 and a residual block of SegResNet."""
    convolution = nn.Conv3d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, residual(outputs))


def residual(channels: int) -> ResBlock:
    """Build a residual block of SegResNet, pre-activated, with group normalization."""
    return ResBlock(3, channels, norm=("GROUP", {"num_groups": GROUPS}))


def pointwise_volume(inputs: int, outputs: int) -> nn.Conv3d:
    """Build a 1x1x1 convolution; the blocks behind it normalize."""
    return nn.Conv3d(inputs, outputs, kernel_size=1, bias=False)


def enlarge_volume(features: Tensor) -> Tensor:
    """Double the resolution, trilinearly."""
    size = [2 * features.shape[2], 2 * features.shape[3], 2 * features.shape[4]]
    return F.interpolate(features, size=size, mode="trilinear", align_corners=False)
