"""Networks and classifiers; they know nothing of training."""

from .classifiers import (
    SegmentationClassifier,
    TransformerClassifier,
    VolumeClassifier,
    segmentation_classifiers,
    transformer_classifiers,
)
from .factories import ARCHITECTURES, segmentation_network, transformer_network
from .late_fusion import LateFusion, SegmentationLateFusion
from .multimodal import MultimodalNetwork
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork
from .volumetric import VolumetricNetwork

__all__ = [
    "ARCHITECTURES",
    "LateFusion",
    "MultimodalNetwork",
    "SegmentationClassifier",
    "SegmentationLateFusion",
    "SegmentationNetwork",
    "TransformerClassifier",
    "TransformerNetwork",
    "VolumeClassifier",
    "VolumetricNetwork",
    "segmentation_classifiers",
    "segmentation_network",
    "transformer_classifiers",
    "transformer_network",
]
