"""The networks that a bundle may name: with a fusion inside, or a late fusion."""

from typing import Any

from torch import nn

from .late_fusion import LateFusion, SegmentationLateFusion
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork


def transformer_network(
    widths: dict[str, int], outputs: int, *, late_fusion: str | None = None, **sizes: Any
) -> TransformerNetwork | LateFusion:
    """Build a network on features: with a fusion inside, or a late fusion of single modalities.

    Args:
        widths: of the feature vectors, by modality.
        outputs: number of classes, or 1 for a regression.
        late_fusion: None, or a rule of :class:`LateFusion`.
        sizes: further arguments of :class:`TransformerNetwork`.
    """
    if late_fusion is None:
        return TransformerNetwork(widths, outputs, **sizes)
    members: dict[str, nn.Module] = {
        name: TransformerNetwork({name: width}, outputs, **sizes) for name, width in widths.items()
    }
    return LateFusion(members, late_fusion)


def segmentation_network(
    sequences: list[str], *, late_fusion: str | None = None, **settings: Any
) -> SegmentationNetwork | SegmentationLateFusion:
    """Build a network for slices: with a fusion inside, or a late fusion of single sequences.

    Args:
        sequences: names, in the order of the image's channels.
        late_fusion: None, or a rule of :class:`LateFusion`.
        settings: further arguments of :class:`SegmentationNetwork`.
    """
    if late_fusion is None:
        return SegmentationNetwork(sequences, **settings)
    members: dict[str, nn.Module] = {
        name: SegmentationNetwork([name], **settings) for name in sequences
    }
    return SegmentationLateFusion(members, late_fusion, neighbors=settings.get("neighbors", 0))
