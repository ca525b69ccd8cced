"""From files on disk to dictionaries of tensors, keyed by modality.

The names below are loaded when they are first used: what only handles files does not wait for
torch and MONAI.
"""

from importlib import import_module
from typing import Any

_NAMES = {
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
    "brats.nifti": ("Volume", "check_cases", "read_case", "write_mask"),
    "brats.patches": ("PatchDataset", "training_dataset"),
    "brats.slices": ("SliceDataset",),
    "brats.store": ("SliceStore",),
    "brats.volumes": ("VolumeDataset", "describe_grid"),
    "errors": ("InputError",),
    "features.dataset": ("FeatureDataset", "collate_features", "feature_statistics"),
    "features.feature_set": (
        "FeatureSet",
        "check_feature_set",
        "open_feature_set",
        "write_feature_set_header",
        "write_samples",
    ),
    "features.file": ("FeatureFile", "write_features"),
    "features.generated": ("generate_feature_set", "open_features"),
    "features.splits": ("split_features",),
    "identity": ("identify_cases", "identify_samples", "owner_digests"),
    "patients": ("patient_of",),
    "splits": ("read_split", "split_cases"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
