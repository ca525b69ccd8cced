"""The bundle tree of a trained network, and what its configuration names."""

from .datalist import images_to_segment
from .inferer import PresentSequencesInferer
from .network import packed_network
from .transforms import DropSmallETd, NormalizeSequencesd

__all__ = [
    "DropSmallETd",
    "NormalizeSequencesd",
    "PresentSequencesInferer",
    "images_to_segment",
    "packed_network",
]
