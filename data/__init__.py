"""From files on disk to dictionaries of tensors, keyed by modality.

Names are imported when they are first used: worker processes that only handle files do not wait
for torch and MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import train_transform
    from .brats import SEQUENCES, Case, find_cases
    from .conventions import CONVENTIONS, REGIONS
    from .embedded import (
        cases_to_segment,
        data_name,
        describe_split,
        open_cases,
        open_split,
        open_store,
    )
    from .errors import InputError
    from .nifti import Volume, check_cases, read_case, write_mask
    from .slices import SliceDataset
    from .splits import read_split, split_cases
    from .store import SliceStore

_MODULES = {
    "augmentation": ("train_transform",),
    "brats": ("SEQUENCES", "Case", "find_cases"),
    "conventions": ("CONVENTIONS", "REGIONS"),
    "embedded": (
        "cases_to_segment",
        "data_name",
        "describe_split",
        "open_cases",
        "open_split",
        "open_store",
    ),
    "errors": ("InputError",),
    "nifti": ("Volume", "check_cases", "read_case", "write_mask"),
    "slices": ("SliceDataset",),
    "splits": ("read_split", "split_cases"),
    "store": ("SliceStore",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CONVENTIONS",
    "REGIONS",
    "SEQUENCES",
    "Case",
    "InputError",
    "SliceDataset",
    "SliceStore",
    "Volume",
    "cases_to_segment",
    "check_cases",
    "data_name",
    "describe_split",
    "find_cases",
    "open_cases",
    "open_split",
    "open_store",
    "read_case",
    "read_split",
    "split_cases",
    "train_transform",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
