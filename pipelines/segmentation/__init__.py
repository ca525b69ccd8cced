"""From patients to masks: `Segmenter`, losses, inference, overlays, scores.

Names are loaded when they are used: :mod:`.scoring` needs neither torch nor MONAI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .averaging import averaged
    from .case_dataset import CaseDataset, one_case
    from .evaluation_report import EvaluationReport
    from .fine_tuning import FineTuning, StartingWeights
    from .losses import DiceCELoss, RegionLoss, segmentation_loss
    from .mask_writer import MaskWriter
    from .outputs import output_channels, segmentation_task
    from .region_dice import RegionDice, region_score
    from .segmenter import Segmentation, Segmenter
    from .slice_inference import SliceBatchInferer
    from .small_enhancing import DropSmallET, smallest_et
    from .subset_inference import SubsetInferer
    from .subset_report import SubsetReport
    from .trained import default_weights, load_networks, trained_settings
    from .volume_dice import VolumeDice
    from .window_inference import WindowInferer, case_inferer, evaluation_inferer

_MODULES = {
    "CaseDataset": "case_dataset",
    "DiceCELoss": "losses",
    "DropSmallET": "small_enhancing",
    "EvaluationReport": "evaluation_report",
    "FineTuning": "fine_tuning",
    "MaskWriter": "mask_writer",
    "RegionDice": "region_dice",
    "RegionLoss": "losses",
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "SliceBatchInferer": "slice_inference",
    "StartingWeights": "fine_tuning",
    "SubsetInferer": "subset_inference",
    "SubsetReport": "subset_report",
    "VolumeDice": "volume_dice",
    "WindowInferer": "window_inference",
    "averaged": "averaging",
    "case_inferer": "window_inference",
    "default_weights": "trained",
    "evaluation_inferer": "window_inference",
    "load_networks": "trained",
    "one_case": "case_dataset",
    "output_channels": "outputs",
    "region_score": "region_dice",
    "segmentation_loss": "losses",
    "segmentation_task": "outputs",
    "smallest_et": "small_enhancing",
    "trained_settings": "trained",
}

__all__ = [
    "CaseDataset",
    "DiceCELoss",
    "DropSmallET",
    "EvaluationReport",
    "FineTuning",
    "MaskWriter",
    "RegionDice",
    "RegionLoss",
    "Segmentation",
    "Segmenter",
    "SliceBatchInferer",
    "StartingWeights",
    "SubsetInferer",
    "SubsetReport",
    "VolumeDice",
    "WindowInferer",
    "averaged",
    "case_inferer",
    "default_weights",
    "evaluation_inferer",
    "load_networks",
    "one_case",
    "output_channels",
    "region_score",
    "segmentation_loss",
    "segmentation_task",
    "smallest_et",
    "trained_settings",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
