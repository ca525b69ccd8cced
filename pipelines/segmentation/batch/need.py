"""Whether the images of a case have to be prepared before a network can take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ....data.brats.checks import (
    MOST_ML,
    check_background,
    check_same_grid,
    check_voxels,
    voxel_sizes,
)
from ....data.brats.nifti import RasImage
from ....data.errors import InputError


def reason_to_prepare(images: Mapping[str, RasImage]) -> str | None:
    """Say why images have to be prepared; None for those that are in the form of BraTS.

    That form is one grid for all, and exactly 0 outside of the brain.

    Args:
        images: of one case, by sequence, each on its own grid.

    Raises:
        InputError: an image holds no picture at all, so that nothing helps.
    """
    for name, image in images.items():
        check_voxels(image.voxels, f"{image.where} ({name})")
    first, *others = images.values()
    if not all(_passes(check_same_grid, first.grid, other.grid) for other in others):
        return "its sequences lie on different grids"
    for name, image in images.items():
        if not _passes(check_background, image.voxels, name):
            return f"{name} is not 0 outside of the brain"
    inside = np.any([image.voxels != 0 for image in images.values()], axis=0)
    voxel_ml = float(np.prod(voxel_sizes(first.affine))) / 1000
    if (ml := float(np.count_nonzero(inside)) * voxel_ml) > MOST_ML:
        return f"{ml:.0f} ml are not 0, and a brain has less than {MOST_ML:.0f}"
    return None


def _passes(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check(*arguments)
    except InputError:
        return False
    return True
