"""The networks that a bundle may name: with a fusion inside, or a late fusion."""

from typing import Any

from torch import nn

from .late_fusion import LateFusion, SegmentationLateFusion
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork
from .volumetric import VolumetricNetwork

ARCHITECTURES = ("deeplabv3plus", "segresnet")


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
    sequences: list[str],
    *,
    architecture: str = "deeplabv3plus",
    late_fusion: str | None = None,
    **settings: Any,
) -> SegmentationNetwork | VolumetricNetwork | SegmentationLateFusion:
    """Build a network of MRI sequences: with a fusion inside, or a late fusion of single ones.

    Args:
        sequences: names, in the order of the image's channels.
        architecture: "deeplabv3plus", for slices, or "segresnet", for volumes.
        late_fusion: None, or a rule of :class:`LateFusion`.
        settings: further arguments of :class:`SegmentationNetwork`. Of these
            :class:`VolumetricNetwork` takes ``channels`` and ``classes``; it has no backbone with
            dilations, so ``encoder`` and ``rates`` say nothing about it.

    Raises:
        ValueError: there is no such architecture, or weights or neighbors are given for one without
            backbone, which takes volumes.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture is {architecture!r}; it is one of {list(ARCHITECTURES)}")

    def build(names: list[str]) -> SegmentationNetwork | VolumetricNetwork:
        if architecture == "deeplabv3plus":
            return SegmentationNetwork(names, **settings)
        if settings.get("weights") is not None:
            raise ValueError(
                f"weights is {settings['weights']!r}; {architecture} starts at random: leave "
                "weights out, or choose deeplabv3plus"
            )
        if settings.get("neighbors"):
            raise ValueError(
                f"neighbors is {settings['neighbors']}; {architecture} sees whole volumes: leave "
                "neighbors out, or choose deeplabv3plus"
            )
        sizes = {key: settings[key] for key in ("channels", "classes") if key in settings}
        return VolumetricNetwork(names, **sizes)

    if late_fusion is None:
        return build(sequences)
    members: dict[str, nn.Module] = {name: build([name]) for name in sequences}
    return SegmentationLateFusion(members, late_fusion, neighbors=settings.get("neighbors", 0))
