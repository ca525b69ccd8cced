"""Checks of intensities: gray levels, saturation, and the histograms of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....data.brats.nifti import Volume
from ....data.brats.volumes import SHAPE_PERCENTILES, intensity_shape
from ..reliability import GRID
from .findings import Finding, finding
from .view import View

LEAST_LEVELS = 32  # an image of 8 bits has a hundred and more; masks and rounded z-scores few
CLIPPED = 0.01  # of the brain at the very maximum; a scanner reaches it in single voxels
MARGIN = 0.25  # of the width of the training's range, beyond each of its ends
LEAST_MARGIN = 0.1  # in standard deviations
LEAST_CASES = 10  # fewer say too little about a range


def check_levels(volume: Volume) -> list[Finding]:
    """Check for images of few gray levels, and for a plateau at the brightest one."""
    found = []
    for name, image in volume.images.items():
        values = image[image != 0]
        levels = np.unique(values[:: max(1, values.size // 100_000)]).size
        share = float((values == values.max()).mean())
        if levels < LEAST_LEVELS:
            found.append(finding("constant", f"{name} has {levels} gray levels only", name))
        elif share > CLIPPED:
            sentence = f"{share:.1%} of the brain in {name} have the largest value"
            found.append(finding("clipped", f"{sentence}, as if cut off", name))
    return found


def check_training(view: View, names: Sequence[str], trained: Mapping[str, Any]) -> list[Finding]:
    """Check percentiles of the z-scores against their ranges over the training's cases."""
    found = []
    ranges = (trained.get(GRID) or {}).get("intensities") or {}
    for name in names:
        about = ranges.get(name)
        if not about or about["cases"] < LEAST_CASES:
            continue
        image = view.images[name]
        own = np.array(intensity_shape(image[view.brain & (image != 0)]))
        low, high = np.array(about["low"]), np.array(about["high"])
        margin = np.maximum(MARGIN * (high - low), LEAST_MARGIN)
        beyond = np.maximum(low - margin - own, own - high - margin)
        worst = int(beyond.argmax())
        if beyond[worst] > 0:
            sentence = (
                f"{name} is unlike that of the training: percentile {SHAPE_PERCENTILES[worst]} of "
                f"its z-scores is {own[worst]:.2f}, there {low[worst]:.2f} to {high[worst]:.2f}"
            )
            found.append(finding("intensities", sentence, name))
    return found
