"""The methods inside MONAI's trainer, and what a bundle needs over time."""

from ..balancing.batches import prepare_modalities
from .checkpoints import Checkpoint, load_network
from .clipping import GradientClipping
from .feature_batches import PrepareFeatures
from .gradient_recorder import GradientRecorder
from .learning_rate import warmup_cosine
from .modulation import Modulation, listed
from .progress import EpochLog, SetEpoch
from .recorder import Recorder
from .tracking import TrackedSettings

__all__ = [
    "Checkpoint",
    "EpochLog",
    "GradientClipping",
    "GradientRecorder",
    "Modulation",
    "PrepareFeatures",
    "Recorder",
    "SetEpoch",
    "TrackedSettings",
    "listed",
    "load_network",
    "prepare_modalities",
    "warmup_cosine",
]
