"""Networks and classifiers; they know nothing of training."""

from .classifiers import SegmentationClassifier, segmentation_classifiers
from .multimodal import MultimodalNetwork
from .segmentation import SegmentationNetwork

__all__ = [
    "MultimodalNetwork",
    "SegmentationClassifier",
    "SegmentationNetwork",
    "segmentation_classifiers",
]
