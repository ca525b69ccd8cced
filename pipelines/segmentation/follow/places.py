"""Where a patient's head lay at an earlier date: in the same place, or in one that is found.

Nothing in a file says that two dates were registered to each other. So the brains tell: if they
overlap as they lie, the masks can be compared voxel by voxel; else one is registered to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....data.errors import InputError
from ....data.words import percent
from .visits import Visit

if TYPE_CHECKING:
    from ....data.brats.nifti import RasImage

SAME_PLACE = 0.95  # share of each brain inside the other; a shift of some 4 mm leaves it
REGISTERED = 0.90  # after registration; brain masks and fields of view differ between dates
_EVERY = 3  # voxel along each axis is asked

Affine = NDArray[np.float64]
_ORDER = ("t1ce", "t1", "flair", "t2")  # which sequence is compared, if both dates have it


class Place(NamedTuple):
    """From RAS mm of the later date to those of the earlier one, (4, 4); how that is known."""

    to_earlier: Affine
    how: str


def place_of(later: Visit, earlier: Visit) -> Place:
    """Say how the head of a later date lies in the space of an earlier one.

    Raises:
        InputError: the brains do not overlap, nor after registration; or that is not installed.
    """
    common = [name for name in _ORDER if name in later.sequences and name in earlier.sequences]
    if not common:
        raise InputError("no sequence is common to both dates")
    images = later.view(common[0]), earlier.view(common[0])
    still = np.eye(4, dtype=np.float64)
    overlap = brain_overlap(*images, still)
    if overlap >= SAME_PLACE:
        return Place(still, f"as they lie, {percent(overlap)} of each brain in the other")
    return _registered(*images, overlap)


def brain_overlap(later: RasImage, earlier: RasImage, to_earlier: Affine) -> float:
    """The share of each brain that lies inside the other, the smaller of the two."""
    return min(
        _share_inside(later, earlier, to_earlier),
        _share_inside(earlier, later, np.asarray(np.linalg.inv(to_earlier), float)),
    )


def _share_inside(image: RasImage, other: RasImage, to_other: Affine) -> float:
    thin = np.argwhere(image.voxels[::_EVERY, ::_EVERY, ::_EVERY] > 0) * _EVERY
    if not len(thin):
        return 0.0
    index = np.linalg.inv(other.affine) @ to_other @ image.affine
    there = np.rint(thin @ index[:3, :3].T + index[:3, 3]).astype(np.intp)
    within = ((there >= 0) & (there < other.voxels.shape)).all(1)
    return float((other.voxels[tuple(there[within].T)] > 0).sum() / len(thin))


def _registered(later: RasImage, earlier: RasImage, overlap: float) -> Place:
    apart = f"only {percent(overlap)} of the brains lie in the same place"
    try:
        from ..preparation.images import LPS, to_itk
        from ..preparation.registration import register
    except ModuleNotFoundError as error:
        raise InputError(
            f'{apart}, and nothing registers them: pip install "cggm[prepare]"'
        ) from error
    fixed, moving = (to_itk(image.voxels, image.affine) for image in (later, earlier))
    motion = register(fixed, moving, to_itk(later.voxels > 0, later.affine))
    lps = np.eye(4)
    turn = np.reshape(motion.transform.GetMatrix(), (3, 3))
    lps[:3, :3] = turn
    lps[:3, 3] = motion.transform.TransformPoint((0.0, 0.0, 0.0))
    to_earlier = LPS @ lps @ LPS
    overlap = brain_overlap(later, earlier, to_earlier)
    if motion.at_the_end or overlap < REGISTERED:
        raise InputError(f"{apart}, and {percent(overlap)} after registration: it failed")
    return Place(
        to_earlier,
        f"registered ({motion.mm:.1f} mm, {motion.degrees:.1f}°), {percent(overlap)} of each "
        "brain in the other",
    )
