"""From features to figures: predictions, metrics, intervals, reports."""

from .feature_networks import (
    read_description,
    samples_to_predict,
    standardized,
    trained_features,
    trained_max_length,
)
from .outcomes import comparison
from .prediction_metrics import ClassificationMetrics, RegressionMetrics
from .prediction_report import PredictionReport
from .prediction_writer import PredictionWriter
from .unseen import samples_to_judge

__all__ = [
    "ClassificationMetrics",
    "PredictionReport",
    "PredictionWriter",
    "RegressionMetrics",
    "comparison",
    "read_description",
    "samples_to_judge",
    "samples_to_predict",
    "standardized",
    "trained_features",
    "trained_max_length",
]
