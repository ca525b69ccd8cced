"""A scorer of segmentation masks: conventions by name, lesion by lesion, over patients."""

from .calibration import expected_calibration_error
from .cases import CaseScores, Scored, score_labels, score_pairs
from .empty_regions import CONVENTIONS
from .lesions import LESION_RULES
from .masks import Regions
from .pairs import pair_masks
from .region import RegionScores, ScoringRules, score_region
from .report import ScoreReport
from .statistics import limits_of_agreement, summarize, summarize_figure

__all__ = [
    "CONVENTIONS",
    "LESION_RULES",
    "CaseScores",
    "RegionScores",
    "Regions",
    "ScoreReport",
    "Scored",
    "ScoringRules",
    "expected_calibration_error",
    "limits_of_agreement",
    "pair_masks",
    "score_labels",
    "score_pairs",
    "score_region",
    "summarize",
    "summarize_figure",
]
