"""Pictures of a case: the truth and what networks say from fewer and fewer sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ....data.brats.cases import Case
from ....data.brats.nifti import Volume, read_case
from ...segmentation import Segmenter
from ...segmentation.mask_writer import describe_mask
from ...segmentation.overlays import (
    COLORS,
    brain_window,
    busiest_slice,
    colored,
    gray,
    show_slice,
)
from ..report.pieces import FigurePiece
from .subset_tables import ALL, views

SHOWN = (ALL, "without t1ce", "without flair", "flair alone")
_PANEL = (1.9, 2.2)  # inches


def mask_figure(case: Case, segmenters: Mapping[str, Segmenter]) -> FigurePiece:
    """Draw a row per subset of the sequences: the truth, then the mask of each network.

    Args:
        case: with a label.
        segmenters: by name, for the same sequences.
    """
    sequences = next(iter(segmenters.values())).sequences
    volume = read_case(case, sequences)
    assert volume.label is not None
    rows = {label: subset for label, subset in views(sequences).items() if label in SHOWN}
    columns = len(segmenters) + 1
    size = (_PANEL[0] * columns, _PANEL[1] * len(rows) + 0.5)
    figure = Figure(figsize=size, dpi=150, facecolor="black", layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, (label, subset) in zip(grid, rows.items(), strict=True):
        axes[0].text(-0.06, 0.5, label, rotation=90, transform=axes[0].transAxes, **_TEXT)
        images = {name: volume.images[name] for name in subset}
        masks = {"truth": volume.label}
        for name, segmenter in segmenters.items():
            masks[name] = segmenter.segment(images, volume.affine).classes
        _fill(axes, volume, images, masks)
    figure.legend(
        handles=[Patch(color=color, label=name) for name, color in COLORS.items()],
        loc="outside lower center",
        ncols=len(COLORS),
        frameon=False,
        labelcolor="white",
    )
    z = busiest_slice(volume.label)
    caption = [
        f"Axial slice {z}, the one with most true tumor, over t1ce where the network sees it, else "
        "over flair. Volume and Dice (%) of the whole tumor, in all slices."
    ]
    return FigurePiece("", f"Test case {case.name}", caption, figure)


_TEXT = {"color": "white", "fontsize": 10, "ha": "right", "va": "center"}


def _fill(
    axes: Sequence[Axes],
    volume: Volume,
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> None:
    truth = masks["truth"]
    z = busiest_slice(truth)
    window = brain_window([image[:, :, z] for image in volume.images.values()])
    base = next((images[name] for name in ("t1ce", "flair") if name in images), None)
    below = gray((next(iter(images.values())) if base is None else base)[:, :, z][window])
    for panel, (name, mask) in zip(axes, masks.items(), strict=True):
        figures = describe_mask(mask, truth, volume.voxel_ml)
        text = f"{figures['WT_ml']:.0f} ml"
        if name != "truth":
            text += f", Dice {figures['WT_dice']:.0f}"
        show_slice(panel, colored(below, mask[:, :, z][window]), f"{name}\n{text}")
