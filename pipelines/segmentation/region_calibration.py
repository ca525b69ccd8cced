"""Calibration of the regions of BraTS: WT, TC and ET, of volumes that come in parts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...data.brats.conventions import REGION_CLASSES, REGIONS
from .outputs import class_probabilities
from .scoring.calibration import BINS, calibration_gaps


class RegionCalibration:
    """Expected calibration error of each region of one volume, over the voxels of the brain.

    A region's probability is the sum over its classes. See
    :func:`.scoring.expected_calibration_error`.
    """

    def __init__(self) -> None:
        self._gaps = np.zeros((len(REGIONS), BINS))
        self._voxels = 0

    def add(self, logits: Tensor, truth: Tensor) -> None:
        """Add a part of the volume.

        Args:
            logits: shape (n, classes, ...); minus infinity for all but the background outside the
                brain, as :meth:`.CenteredSlices.inside_brain` leaves them.
            truth: class numbers, shape (n, ...).
        """
        brain = logits[:, 1] != -torch.inf
        likely = class_probabilities(logits).movedim(1, -1)[brain].cpu().numpy()  # (N, classes)
        true = truth.to(brain.device)[brain].cpu().numpy()
        self._voxels += len(true)
        for row, region in zip(self._gaps, REGIONS, strict=True):
            classes = list(REGION_CLASSES[region])
            row += calibration_gaps(likely[:, classes].sum(1), np.isin(true, classes))

    @property
    def errors(self) -> np.ndarray:
        """The errors, in [0, 1], shape (3 regions,); NaN where there is no brain."""
        if not self._voxels:
            return np.full(len(REGIONS), np.nan)
        return np.abs(self._gaps).sum(1) / self._voxels
