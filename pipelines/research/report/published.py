"""What did the paper publish for these data (Tables 2, 3 and 4)?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

Figures = Mapping[str, tuple[float, ...]]

_VIDEO_ONLY = "vision only"  # the paper says video
_IEMOCAP_NAME = r"IEMOCAP(, fold \d+)?"

_FOOD: Figures = {
    "text only": (84.77, 84.72),
    "image only": (68.24, 68.23),
    "joint": (90.32, 90.30),
    "gblending": (90.42, 90.38),
    "greedy": (91.21, 91.20),
    "ogm_ge": (91.08, 91.08),
    "agm": (91.49, 91.48),
    "pmr": (92.01, 91.98),
    "umt": (91.82, 91.82),
    "ume": (90.69, 90.68),
    "qmf": (92.87, 92.85),
    "reconboost": (92.52, 92.51),
    "cggm": (92.94, 92.90),
}
_BRATS: Figures = {
    "flair only": (70.42, 51.41, 45.27, 55.70),
    "t1 only": (50.73, 36.13, 38.77, 41.88),
    "t2 only": (64.82, 42.17, 34.62, 47.20),
    "t1ce only": (56.61, 53.83, 53.14, 54.53),
    "joint": (74.03, 67.08, 66.53, 69.21),
    "mrd": (74.02, 68.04, 67.28, 69.78),
    "mslr": (74.47, 69.98, 67.20, 70.55),
    "umt": (74.15, 67.69, 66.80, 69.55),
    "ume": (74.65, 68.74, 67.58, 70.32),
    "qmf": (75.11, 70.78, 68.94, 71.61),
    "reconboost": (75.21, 70.18, 70.01, 71.80),
    "cggm": (76.94, 72.75, 72.14, 73.94),
}
_MOSI: Figures = {
    "text only": (76.83, 28.24, 76.80, 1.016, 0.664),
    "audio only": (64.12, 23.04, 66.96, 1.451, 0.510),
    _VIDEO_ONLY: (62.00, 21.65, 66.18, 1.441, 0.499),
    "joint": (81.23, 29.26, 81.23, 0.952, 0.710),
    "mrd": (80.78, 31.44, 80.75, 0.975, 0.688),
    "mslr": (81.22, 31.00, 81.19, 0.950, 0.704),
    "umt": (81.78, 31.98, 81.77, 0.942, 0.712),
    "ume": (80.83, 30.94, 80.78, 0.969, 0.701),
    "cggm": (82.84, 33.73, 82.74, 0.915, 0.717),
}
_IEMOCAP: Figures = {
    "text only": (65.35, 64.30),
    "audio only": (52.18, 50.14),
    _VIDEO_ONLY: (54.55, 53.97),
    "joint": (70.74, 69.53),
    "mrd": (71.81, 71.08),
    "mslr": (71.99, 70.96),
    "agm": (72.35, 71.94),
    "umt": (70.75, 69.81),
    "ume": (71.53, 70.94),
    "qmf": (72.08, 71.64),
    "reconboost": (73.14, 72.71),
    "cggm": (75.38, 74.97),
}
_CLASSES = ("accuracy", "f1_weighted")
# Of the three ways to take two sides, the one of the authors' code.
_VALUES = ("acc2_nonpositive_positive", "acc7", "f1_nonpositive_positive", "mae", "corr")
_DICE = tuple(f"tumor_slices/{region}" for region in ("WT", "TC", "ET", "mean"))

# The data's own name, as conversion writes it; BraTS is a folder and has its official name.
_TABLES: tuple[tuple[str, int, tuple[str, ...], Figures], ...] = (
    (r"UPMC-Food 101", 2, _CLASSES, _FOOD),
    (r"RSNA_ASNR_MICCAI_BraTS2021_Training_?Data|BraTS2021_Training_Data", 3, _DICE, _BRATS),
    (r"CMU-MOSI", 4, _VALUES, _MOSI),
    (_IEMOCAP_NAME, 4, _CLASSES, _IEMOCAP),
)


class Published(NamedTuple):
    """A table of the paper: its number; row (method, or "text only") to figure to value."""

    table: int
    rows: dict[str, dict[str, float]]


def published(data: str) -> Published | None:
    """The paper's figures for data of this name; None where the paper has no such data.

    Args:
        data: the name that the evaluation reports; of BraTS, the folder.
    """
    name = PurePath(data.replace("\\", "/")).name if _is_path(data) else data
    for pattern, table, figures, rows in _TABLES:
        if re.fullmatch(pattern, name):
            named = {row: dict(zip(figures, values, strict=True)) for row, values in rows.items()}
            return Published(table, named)
    return None


def is_iemocap(data: str) -> bool:
    """Whether data of this name are those of the paper's Tables 5 and 6."""
    return re.fullmatch(_IEMOCAP_NAME, data) is not None


def _is_path(data: str) -> bool:
    return "/" in data or "\\" in data
