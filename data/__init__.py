"""From files on disk to dictionaries of tensors, keyed by modality.

Names are imported when they are first used: worker processes that only handle files do not wait
for torch and MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import train_transform
    from .brats import (
        SEQUENCES,
        Case,
        find_cases,
    )
    from .conventions import (
        CONVENTIONS,
        REGIONS,
    )
    from .embedded import (
        cases_to_segment,
        data_name,
        describe_split,
        open_cases,
        open_split,
        open_store,
    )
    from .errors import InputError
    from .feature_dataset import (
        FeatureDataset,
        collate_features,
        feature_statistics,
    )
    from .feature_set import (
        FeatureSet,
        check_feature_set,
        open_feature_set,
        write_feature_set_header,
        write_samples,
    )
    from .feature_splits import split_features
    from .features import (
        FeatureFile,
        write_features,
    )
    from .generated import (
        generate_feature_set,
        open_features,
    )
    from .nifti import (
        Volume,
        check_cases,
        read_case,
        write_mask,
    )
    from .slices import SliceDataset
    from .splits import (
        read_split,
        split_cases,
    )
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
    "feature_dataset": ("FeatureDataset", "collate_features", "feature_statistics"),
    "feature_set": (
        "FeatureSet",
        "check_feature_set",
        "open_feature_set",
        "write_feature_set_header",
        "write_samples",
    ),
    "feature_splits": ("split_features",),
    "features": ("FeatureFile", "write_features"),
    "generated": ("generate_feature_set", "open_features"),
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
    "FeatureDataset",
    "FeatureFile",
    "FeatureSet",
    "InputError",
    "SliceDataset",
    "SliceStore",
    "Volume",
    "cases_to_segment",
    "check_cases",
    "check_feature_set",
    "collate_features",
    "data_name",
    "describe_split",
    "feature_statistics",
    "find_cases",
    "generate_feature_set",
    "open_cases",
    "open_feature_set",
    "open_features",
    "open_split",
    "open_store",
    "read_case",
    "read_split",
    "split_cases",
    "split_features",
    "train_transform",
    "write_feature_set_header",
    "write_features",
    "write_mask",
    "write_samples",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
