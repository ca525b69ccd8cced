"""From files on disk to dictionaries of tensors, keyed by modality.

Names are imported when they are first used: worker processes that only handle files do not wait
for torch and MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .brats.augmentation import train_transform
    from .brats.cases import SEQUENCES, Case, find_cases
    from .brats.conventions import CONVENTIONS, REGIONS
    from .brats.embedded import (
        cases_to_segment,
        data_name,
        describe_split,
        open_cases,
        open_split,
        open_store,
    )
    from .brats.nifti import Volume, check_cases, read_case, write_mask
    from .brats.slices import SliceDataset
    from .brats.store import SliceStore
    from .errors import InputError
    from .features.dataset import FeatureDataset, collate_features, feature_statistics
    from .features.feature_set import (
        FeatureSet,
        check_feature_set,
        open_feature_set,
        write_feature_set_header,
        write_samples,
    )
    from .features.file import FeatureFile, write_features
    from .features.generated import generate_feature_set, open_features
    from .features.splits import split_features
    from .identity import identify_cases, identify_samples, owner_digests
    from .splits import patient_of, read_split, split_cases

_MODULES = {
    "brats.augmentation": ("train_transform",),
    "brats.cases": ("SEQUENCES", "Case", "find_cases"),
    "brats.conventions": ("CONVENTIONS", "REGIONS"),
    "brats.embedded": (
        "cases_to_segment",
        "data_name",
        "describe_split",
        "open_cases",
        "open_split",
        "open_store",
    ),
    "errors": ("InputError",),
    "features.dataset": ("FeatureDataset", "collate_features", "feature_statistics"),
    "features.feature_set": (
        "FeatureSet",
        "check_feature_set",
        "open_feature_set",
        "write_feature_set_header",
        "write_samples",
    ),
    "features.splits": ("split_features",),
    "features.file": ("FeatureFile", "write_features"),
    "features.generated": ("generate_feature_set", "open_features"),
    "brats.nifti": ("Volume", "check_cases", "read_case", "write_mask"),
    "brats.slices": ("SliceDataset",),
    "identity": ("identify_cases", "identify_samples", "owner_digests"),
    "splits": ("patient_of", "read_split", "split_cases"),
    "brats.store": ("SliceStore",),
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
    "identify_cases",
    "identify_samples",
    "open_cases",
    "open_feature_set",
    "open_features",
    "open_split",
    "open_store",
    "owner_digests",
    "patient_of",
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
