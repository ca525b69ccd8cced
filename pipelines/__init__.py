"""What happens over time: training, evaluation, inference."""

from .checkpoints import Checkpoint, load_network
from .clipping import GradientClipping
from .evaluation import EvaluationReport
from .handler import Modulation, listed
from .inference import CaseDataset, MaskWriter, SliceBatchInferer
from .losses import DiceCELoss
from .metrics import VolumeDice
from .optimization import parameter_groups
from .progress import EpochLog, SetEpoch
from .recorder import Recorder
from .schedule import warmup_cosine
from .scores import RegionDice
from .tasks import Task
from .tracking import TrackedSettings

__all__ = [
    "CaseDataset",
    "Checkpoint",
    "DiceCELoss",
    "EpochLog",
    "EvaluationReport",
    "GradientClipping",
    "MaskWriter",
    "Modulation",
    "Recorder",
    "RegionDice",
    "SetEpoch",
    "SliceBatchInferer",
    "Task",
    "TrackedSettings",
    "VolumeDice",
    "listed",
    "load_network",
    "parameter_groups",
    "warmup_cosine",
]
