"""What happens over time: training, evaluation, inference."""

from .handler import Modulation
from .losses import DiceCELoss
from .optimization import parameter_groups
from .scores import RegionDice
from .tasks import Task

__all__ = ["DiceCELoss", "Modulation", "RegionDice", "Task", "parameter_groups"]
