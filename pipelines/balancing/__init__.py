"""The idea in plain PyTorch: what a method is, and what it sees and changes in any loop."""

from .method import Method, Run, Step
from .optimization import parameter_groups
from .scores import RegionDice, score_by_name
from .tasks import ClassificationTask, RegressionTask, SegmentationTask, Task

__all__ = [
    "ClassificationTask",
    "Method",
    "RegionDice",
    "RegressionTask",
    "Run",
    "SegmentationTask",
    "Step",
    "Task",
    "parameter_groups",
    "score_by_name",
]
