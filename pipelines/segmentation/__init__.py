"""From patients to masks: losses, inference, overlays, volumetric scores."""

from .evaluation_report import EvaluationReport
from .inference import CaseDataset, MaskWriter, SliceBatchInferer
from .losses import DiceCELoss
from .region_dice import RegionDice, region_score
from .volume_dice import VolumeDice

__all__ = [
    "CaseDataset",
    "DiceCELoss",
    "EvaluationReport",
    "MaskWriter",
    "RegionDice",
    "SliceBatchInferer",
    "VolumeDice",
    "region_score",
]
