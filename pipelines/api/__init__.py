"""Networks of several modalities, balanced: what ``from cggm import …`` gives, loaded when used."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cggm.pipelines.balancing import (
        Balancer,
        ClassificationTask,
        Method,
        ModalityDropout,
        RegressionTask,
        SegmentationTask,
        Task,
        parameter_groups,
    )
    from cggm.pipelines.handlers import Modulation, prepare_modalities
    from cggm.pipelines.methods import CGGM
    from cggm.pipelines.segmentation import Segmenter

# Which room each name is in; loading a room may load torch or MONAI.
_ROOMS = {
    "Balancer": "balancing",
    "CGGM": "methods",
    "ClassificationTask": "balancing",
    "Method": "balancing",
    "ModalityDropout": "balancing",
    "Modulation": "handlers",
    "RegressionTask": "balancing",
    "SegmentationTask": "balancing",
    "Segmenter": "segmentation",
    "Task": "balancing",
    "parameter_groups": "balancing",
    "prepare_modalities": "handlers",
}

__all__ = [
    "CGGM",
    "Balancer",
    "ClassificationTask",
    "Method",
    "ModalityDropout",
    "Modulation",
    "RegressionTask",
    "SegmentationTask",
    "Segmenter",
    "Task",
    "parameter_groups",
    "prepare_modalities",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("cggm")
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cggm.pipelines.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
