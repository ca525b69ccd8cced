"""Networks and classifiers; they know nothing of training."""

from .classifiers import (
    SegmentationClassifier,
    TransformerClassifier,
    segmentation_classifiers,
    transformer_classifiers,
)
from .factories import segmentation_network, transformer_network
from .late_fusion import LateFusion, SegmentationLateFusion
from .multimodal import MultimodalNetwork
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork

__all__ = [
    "LateFusion",
    "MultimodalNetwork",
    "SegmentationClassifier",
    "SegmentationLateFusion",
    "SegmentationNetwork",
    "TransformerClassifier",
    "TransformerNetwork",
    "segmentation_classifiers",
    "segmentation_network",
    "transformer_classifiers",
    "transformer_network",
]
