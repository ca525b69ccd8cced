"""A scorer of segmentation masks: conventions by name, lesion by lesion, over patients."""

from .empty_regions import CONVENTIONS
from .lesions import LESION_RULES
from .region import RegionScores, ScoringRules, score_region

__all__ = ["CONVENTIONS", "LESION_RULES", "RegionScores", "ScoringRules", "score_region"]
