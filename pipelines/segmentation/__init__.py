"""From patients to masks: `Segmenter`, losses, inference, overlays, volumetric scores."""

from .case_dataset import CaseDataset, one_case
from .evaluation_report import EvaluationReport
from .losses import DiceCELoss
from .mask_writer import MaskWriter
from .region_dice import RegionDice, region_score
from .segmenter import Segmentation, Segmenter
from .slice_inference import SliceBatchInferer
from .subset_inference import SubsetInferer, evaluation_inferer
from .subset_report import SubsetReport
from .trained import default_weights, trained_settings
from .volume_dice import VolumeDice

__all__ = [
    "CaseDataset",
    "DiceCELoss",
    "EvaluationReport",
    "MaskWriter",
    "RegionDice",
    "Segmentation",
    "Segmenter",
    "SliceBatchInferer",
    "SubsetInferer",
    "SubsetReport",
    "VolumeDice",
    "default_weights",
    "evaluation_inferer",
    "one_case",
    "region_score",
    "trained_settings",
]
