"""The methods inside MONAI's trainer, and what a bundle needs over time."""

from ..balancing.batches import prepare_modalities
from .checkpoints import TrainingCheckpoint, load_network
from .clipping import GradientClipping
from .feature_batches import PrepareFeatures
from .finite_steps import FiniteSteps
from .gradient_recorder import GradientRecorder
from .learning_rate import warmup_cosine
from .modulation import Modulation, listed
from .progress import Announcement, EpochLog, SetEpoch
from .recorder import Recorder
from .replicas import SameBuffers
from .same_run import experiment_parameters
from .weight_average import WeightAverage

__all__ = [
    "Announcement",
    "EpochLog",
    "FiniteSteps",
    "GradientClipping",
    "GradientRecorder",
    "Modulation",
    "PrepareFeatures",
    "Recorder",
    "SameBuffers",
    "SetEpoch",
    "TrainingCheckpoint",
    "WeightAverage",
    "experiment_parameters",
    "listed",
    "load_network",
    "prepare_modalities",
    "warmup_cosine",
]
