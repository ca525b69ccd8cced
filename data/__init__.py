"""From files on disk to dictionaries of tensors, keyed by modality."""

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
