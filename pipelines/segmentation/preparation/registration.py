"""Rigid registration of one sequence to another by Mattes mutual information."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ....data.errors import InputError
from .images import Grid, isotropic, resampled, to_itk, to_numpy

COARSE, FINE = 4.0, 2.0  # mm of the voxels, from afar and from near
ITERATIONS = 200
SAMPLES = 30_000  # points at most at which the images are compared
SEED = 1
BINS = 50
SEARCH_DEGREES, SEARCH_MM = 40.0, 60.0  # from the start; an end beyond is no registration


@dataclass(frozen=True)
class Registration:
    """Where the moving sequence lies, and what speaks for it.

    Attributes:
        transform: from points of the fixed image to points of the moving one, in LPS mm.
        degrees: the head's turn between the two.
        mm: how far the middle of the fixed image's brain has moved.
        information: mutual information at the end, in nats.
        start: what the search began from: "scanner coordinates" or "centers of mass".
        at_the_end: whether it ended at the limit of its search.
    """

    transform: sitk.Euler3DTransform
    degrees: float
    mm: float
    information: float
    start: str
    at_the_end: bool


def register(fixed: sitk.Image, moving: sitk.Image, brain: sitk.Image) -> Registration:
    """Find the rigid motion of the head between two images.

    The search begins twice on coarse voxels, from the scanner's coordinates and from the centers
    of mass, and goes on from the better end within the head around the brain. Points are drawn with
    a fixed seed, and one thread adds up, so that the number of processors changes nothing.

    Args:
        fixed: the reference.
        moving: the image to bring to it.
        brain: of the reference, uint8, on any grid.

    Raises:
        InputError: no start leaves them anything in common.
    """
    middle = _middle_of(brain)
    ends = []
    far = isotropic(fixed, COARSE), isotropic(moving, COARSE)
    for start, name in _starts(*far, middle):
        with suppress(RuntimeError):  # of ITK, where a start leaves no common point
            end, value, stopped = _optimized(*far, start)
            seen = _seen(far[1], brain, end)  # little in common may look much alike
            ends.append((value * seen, value, end, name, stopped or _beyond(start, end, middle)))
    if not ends:
        raise InputError("the images have nothing in common: is this sequence one of a head?")
    _, value, transform, name, beyond = min(ends, key=lambda end: (end[4], end[0]))
    if not beyond:
        near = isotropic(fixed, FINE), isotropic(moving, FINE)
        transform, value, _ = _optimized(*near, transform, _around(brain, near[0]))
    turn = np.reshape(transform.GetMatrix(), (3, 3))
    shift = float(np.linalg.norm(np.array(transform.TransformPoint(middle.tolist())) - middle))
    return Registration(transform, _degrees(turn), shift, -value, name, beyond)


def _starts(
    fixed: sitk.Image, moving: sitk.Image, middle: NDArray[np.float64]
) -> list[tuple[sitk.Euler3DTransform, str]]:
    still = sitk.Euler3DTransform()
    still.SetCenter(middle.tolist())
    moments = sitk.CenteredTransformInitializer(
        fixed, moving, still, sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    return [(still, "scanner coordinates"), (sitk.Euler3DTransform(moments), "centers of mass")]


def _seen(moving: sitk.Image, brain: sitk.Image, transform: sitk.Transform) -> float:
    """The share of the brain that lies in the field of view of the other image."""
    everywhere = to_itk(np.ones(moving.GetSize(), np.float32), Grid.of(moving).affine)
    seen = resampled(everywhere, Grid.of(brain), transform)
    return float(seen[to_numpy(brain) > 0].mean())


def _optimized(
    fixed: sitk.Image,
    moving: sitk.Image,
    start: sitk.Euler3DTransform,
    mask: sitk.Image | None = None,
) -> tuple[sitk.Euler3DTransform, float, bool]:
    """The best transform near a start, the metric there, and whether the iterations ran out."""
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(BINS)
    points = fixed.GetNumberOfPixels() if mask is None else int(to_numpy(mask).sum())
    search.SetMetricSamplingStrategy(search.REGULAR)
    search.SetMetricSamplingPercentage(min(1.0, SAMPLES / max(points, 1)), SEED)
    if mask is not None:
        search.SetMetricFixedMask(mask)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.005, numberOfIterations=ITERATIONS, relaxationFactor=0.8
    )
    search.SetOptimizerScalesFromPhysicalShift()
    end = sitk.Euler3DTransform(start)
    search.SetInitialTransform(end, inPlace=True)
    with _one_thread():
        search.Execute(fixed, moving)
    return end, search.GetMetricValue(), search.GetOptimizerIteration() >= ITERATIONS


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK add up in one order; the setting of a search does not reach all of its parts."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _beyond(
    start: sitk.Euler3DTransform, end: sitk.Euler3DTransform, middle: NDArray[np.float64]
) -> bool:
    """Whether a search has left its start further than heads move."""
    first, last = (np.array(one.TransformPoint(middle.tolist())) for one in (start, end))
    turn = np.reshape(start.GetMatrix(), (3, 3)).T @ np.reshape(end.GetMatrix(), (3, 3))
    mm = float(np.linalg.norm(last - first))
    return mm > SEARCH_MM or _degrees(turn) > SEARCH_DEGREES


def _degrees(turn: NDArray[np.float64]) -> float:
    """The angle of a rotation matrix (3, 3)."""
    return float(np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def _middle_of(brain: sitk.Image) -> NDArray[np.float64]:
    """The center of mass of a mask in LPS mm."""
    inside = np.argwhere(to_numpy(brain)).mean(0)
    return np.array(brain.TransformContinuousIndexToPhysicalPoint(inside.tolist()))


def _around(brain: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The brain and 12 mm about it, skull and scalp, on the voxels of an image."""
    coarse = sitk.ConstantPad(isotropic(brain, 3.0) > 0.5, [5] * 3, [5] * 3)
    around = sitk.BinaryDilate(coarse, [4] * 3)
    return sitk.Resample(around, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
