"""The idea in plain PyTorch: what a method is, and what it sees and changes in any loop."""

from .balancer import Balancer
from .method import Method, Run, Step
from .modality_dropout import ModalityDropout
from .optimization import parameter_groups
from .region_task import RegionTask
from .scores import Dice, score_by_name
from .tasks import ClassificationTask, RegressionTask, SegmentationTask, Task

__all__ = [
    "Balancer",
    "ClassificationTask",
    "Dice",
    "Method",
    "ModalityDropout",
    "RegionTask",
    "RegressionTask",
    "Run",
    "SegmentationTask",
    "Step",
    "Task",
    "parameter_groups",
    "score_by_name",
]
