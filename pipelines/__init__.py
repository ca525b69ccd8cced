"""What happens over time: training, evaluation, inference."""

from .checkpoints import Checkpoint, load_network
from .clipping import GradientClipping
from .evaluation import EvaluationReport
from .feature_batches import PrepareFeatures
from .feature_networks import (
    read_description,
    samples_to_predict,
    standardized,
    trained_features,
)
from .handler import Modulation, listed
from .inference import CaseDataset, MaskWriter, SliceBatchInferer
from .losses import DiceCELoss
from .metrics import VolumeDice
from .optimization import parameter_groups
from .outcomes import comparison
from .prediction_metrics import ClassificationMetrics, RegressionMetrics
from .prediction_report import PredictionReport
from .prediction_writer import PredictionWriter
from .progress import EpochLog, SetEpoch
from .recorder import Recorder
from .schedule import warmup_cosine
from .scores import RegionDice, score_by_name
from .tasks import Task
from .tracking import TrackedSettings

__all__ = [
    "CaseDataset",
    "Checkpoint",
    "ClassificationMetrics",
    "DiceCELoss",
    "EpochLog",
    "EvaluationReport",
    "GradientClipping",
    "MaskWriter",
    "Modulation",
    "PredictionReport",
    "PredictionWriter",
    "PrepareFeatures",
    "Recorder",
    "RegionDice",
    "RegressionMetrics",
    "SetEpoch",
    "SliceBatchInferer",
    "Task",
    "TrackedSettings",
    "VolumeDice",
    "comparison",
    "listed",
    "load_network",
    "parameter_groups",
    "read_description",
    "samples_to_predict",
    "score_by_name",
    "standardized",
    "trained_features",
    "warmup_cosine",
]
