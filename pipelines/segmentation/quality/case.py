"""All checks of a case, in an order in which none speaks of what another one has explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.brats.nifti import Volume
from .brain import check_brain, check_coverage, check_grid, check_orientation
from .contrasts import check_enhancement, check_identical, check_swapped
from .findings import Finding, by_severity
from .intensities import check_levels, check_training
from .view import coarse_view


def check_case(volume: Volume, trained: Mapping[str, Any] | None = None) -> list[Finding]:
    """Look for what makes a mask of a case wrong although its files can be read.

    What :func:`cggm.data.read_case` refuses (damaged files, grids that differ, a background that is
    not 0, sequences with the very same voxels) has been refused before.

    Args:
        volume: images of one case, 0 outside the brain.
        trained: description of the network (``model.json``, `Segmenter.trained`); without it,
            voxels and intensities are not compared with those of the training.

    Returns:
        The findings, errors first; empty for a case that looks right.
    """
    trained = trained or {}
    view = coarse_view(volume)
    grid = check_grid(volume, view, trained)
    whole = all(each.code != "slab" for each in grid)
    brain = check_brain(view, whole=whole)
    coverage = check_coverage(view)
    found = [*grid, *brain, *coverage, *check_levels(volume)]
    if whole and not brain:
        found += check_orientation(view)
    broken = {each.sequence for each in found if each.code in ("empty", "constant")}
    sound = [name for name in view.images if name not in broken]
    if all(each.code != "not_stripped" for each in brain):
        found += (alike := check_identical(view, sound))
        if not alike:
            swapped = check_swapped(view, sound)
            found += swapped or check_enhancement(view, sound)
            found += [] if swapped else check_training(view, sound, trained)
    return by_severity(found)
