"""What happens over time: training, evaluation, inference."""

from .command_line.start import start
from .evaluation.feature_batches import PrepareFeatures
from .evaluation.inference import CaseDataset, MaskWriter, SliceBatchInferer
from .evaluation.metrics import VolumeDice
from .evaluation.outcomes import comparison
from .evaluation.prediction_metrics import ClassificationMetrics, RegressionMetrics
from .evaluation.prediction_report import PredictionReport
from .evaluation.prediction_writer import PredictionWriter
from .evaluation.segmentation_report import EvaluationReport
from .evaluation.unseen import samples_to_judge
from .training.checkpoints import Checkpoint, load_network
from .training.clipping import GradientClipping
from .training.feature_networks import (
    read_description,
    samples_to_predict,
    standardized,
    trained_features,
    trained_max_length,
)
from .training.gradient_recorder import GradientRecorder
from .training.handler import Modulation, listed
from .training.losses import DiceCELoss
from .training.optimization import parameter_groups
from .training.progress import EpochLog, SetEpoch
from .training.recorder import Recorder
from .training.schedule import warmup_cosine
from .training.scores import RegionDice, score_by_name
from .training.tasks import ClassificationTask, RegressionTask, SegmentationTask, Task
from .training.tracking import TrackedSettings

__all__ = [
    "CaseDataset",
    "Checkpoint",
    "ClassificationMetrics",
    "ClassificationTask",
    "DiceCELoss",
    "EpochLog",
    "EvaluationReport",
    "GradientClipping",
    "GradientRecorder",
    "MaskWriter",
    "Modulation",
    "PredictionReport",
    "PredictionWriter",
    "PrepareFeatures",
    "Recorder",
    "RegionDice",
    "RegressionMetrics",
    "RegressionTask",
    "SegmentationTask",
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
    "samples_to_judge",
    "samples_to_predict",
    "score_by_name",
    "standardized",
    "start",
    "trained_features",
    "trained_max_length",
    "warmup_cosine",
]
