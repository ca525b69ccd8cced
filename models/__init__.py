"""Networks and classifiers; they know nothing of training."""

from .classifiers import (
    SegmentationClassifier,
    TransformerClassifier,
    segmentation_classifiers,
    transformer_classifiers,
)
from .multimodal import MultimodalNetwork
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork

__all__ = [
    "MultimodalNetwork",
    "SegmentationClassifier",
    "SegmentationNetwork",
    "TransformerClassifier",
    "TransformerNetwork",
    "segmentation_classifiers",
    "transformer_classifiers",
]
