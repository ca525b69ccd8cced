"""The preparation of one case: read, find the brain, register, resample once, judge, write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ....data.brats.cases import Case
from ....data.brats.checks import check_distinct, check_voxels, voxel_sizes
from ....data.brats.native_space import NativeSpace
from ....data.brats.nifti import read_nifti
from ....data.errors import InputError
from ....data.words import percent
from .brain import Mask, described_hd_bet, hd_bet_mask, head_mask, mask_on, own_mask
from .images import Array, Grid, isotropic, resampled, smoothed, to_itk, to_numpy
from .registration import Registration, register

FRAME_MM = (240, 240, 155)  # of BraTS; larger where a brain needs it
MARGIN_MM = 5  # around the brain
THICK = 3.0  # mm: from here on a sequence is called a slab

LEAST_OVERLAP, GOOD_OVERLAP = 80.0, 90.0  # % of the heads
LEAST_COVERED, GOOD_COVERED = 80.0, 98.0  # % of the brain in the field of view
USUAL_ML = (900.0, 2000.0)  # a brain with its liquor, of an adult
LEAST_ML = 300.0
CUT_CM2 = 4.0  # of brain on the border of the field of view


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    Attributes:
        brain_mask: name of the user's own masks; None takes HD-BET.
        accurate: HD-BET with five networks instead of one.
        spacing: edge of the result's voxels in mm.
    """

    brain_mask: str | None = None
    accurate: bool = False
    spacing: float = 1.0


@dataclass(eq=False)
class Scan:
    """One sequence as the scanner gave it, and what the preparation found.

    Attributes:
        image: along RAS+ axes.
        native: geometry of its file.
        registration: to the reference; None for the reference itself.
        on_reference: on the grid of the result, skull and all.
        overlap: of its head and the reference's, in %.
        covered: share of the brain in its field of view, in %.
    """

    image: sitk.Image
    native: NativeSpace
    registration: Registration | None = None
    on_reference: Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    seen: Mask = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    overlap: float = 100.0
    covered: float = 100.0

    @property
    def voxel_mm(self) -> list[float]:
        """Sizes of its voxels along RAS+ axes."""
        return [round(size, 4) for size in self.image.GetSpacing()]

    @property
    def transform(self) -> sitk.Transform:
        """From points of the reference to points of this sequence, in LPS mm."""
        if self.registration is None:
            return sitk.Transform(3, sitk.sitkIdentity)
        return self.registration.transform


@dataclass(eq=False)
class Prepared:
    """A prepared case in memory.

    Attributes:
        name: of the case.
        reference: the sequence on whose axes the result lies.
        scans: by sequence.
        brain: bool (X, Y, Z) on `grid`.
        grid: of the result.
        brain_from: what found the brain.
        warnings: sentences, what is odd and can still be used.
        problems: sentences, why the case cannot be used.
        seconds: by stage.
    """

    name: str
    reference: str
    scans: dict[str, Scan]
    brain: Mask
    grid: Grid
    brain_from: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def brain_ml(self) -> float:
        """Volume of the brain mask."""
        return float(self.brain.sum()) * self.spacing**3 / 1000

    @property
    def spacing(self) -> float:
        """Edge of the result's voxels in mm."""
        return float(voxel_sizes(self.grid.affine)[0])


def prepare_images(case: Case, settings: Settings) -> Prepared:
    """Prepare a case in memory.

    Raises:
        InputError: a file cannot be read, or there is no brain.
    """
    clock = _Clock()
    scans = _read(case)
    reference = choose_reference({name: scan.voxel_mm for name, scan in scans.items()})
    fixed = scans[reference].image
    clock.stop("read")
    found, brain_from = _find_brain(case, reference, fixed, settings)
    brain, grid = _framed(found, fixed, settings.spacing, f"case {case.name}")
    prepared = Prepared(case.name, reference, scans, brain, grid, brain_from)
    clock.stop("brain")
    for name, scan in scans.items():
        if name != reference:
            try:
                scan.registration = register(fixed, scan.image, found)
            except InputError as error:
                raise InputError(f"case {case.name}: {name} and {reference}: {error}") from error
    clock.stop("registration")
    head = head_mask(fixed)
    for scan in scans.values():
        _resample(scan, prepared, head)
    clock.stop("resampling")
    _judge(prepared)
    prepared.seconds = clock.seconds
    return prepared


def choose_reference(voxel_mm: Mapping[str, list[float]]) -> str:
    """Say which sequence the others are brought to: T1ce, or else the finest.

    Args:
        voxel_mm: by sequence.

    >>> choose_reference({"flair": [0.5, 0.5, 5], "t2": [1, 1, 1.2], "t1": [0.4, 0.4, 6]})
    't2'
    """
    if "t1ce" in voxel_mm:
        return "t1ce"
    return min(sorted(voxel_mm), key=lambda name: (max(voxel_mm[name]), np.prod(voxel_mm[name])))


def written_image(values: Array, brain: Mask, affine: NDArray[np.float64]) -> nib.Nifti1Image:
    """An image that is exactly 0 outside a mask and never inside, int16 with a slope."""
    values = np.where(brain, values, 0)
    slope = max(float(np.abs(values).max()), 1e-20) / 32000
    steps = np.rint(values / slope).astype(np.int16)
    steps[brain & (steps == 0)] = 1
    image = nib.Nifti1Image(steps, affine)
    image.header.set_slope_inter(slope, 0)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image


def _read(case: Case) -> dict[str, Scan]:
    """Read every sequence on its own grid."""
    scans: dict[str, Scan] = {}
    arrays: dict[str, Array] = {}
    for name, source in case.images.items():
        where = f"case {case.name}: {source.path}"
        file = read_nifti(source.path, where).volume(source.channel, source.channels)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused next
            arrays[name] = file.voxels.astype(np.float32)
        check_voxels(arrays[name], f"{where} ({name})")
        scans[name] = Scan(to_itk(arrays[name], file.affine), file.native)
    for first, second in combinations(arrays, 2):
        if arrays[first].shape == arrays[second].shape:
            check_distinct({k: arrays[k] for k in (first, second)}, f"case {case.name}")
    return scans


def _find_brain(
    case: Case, reference: str, fixed: sitk.Image, settings: Settings
) -> tuple[sitk.Image, dict[str, Any]]:
    """The brain of the reference, and what found it."""
    if settings.brain_mask is None:
        return hd_bet_mask(fixed, accurate=settings.accurate), described_hd_bet(settings.accurate)
    folder, wanted = case.images[reference].path.parent, settings.brain_mask
    names = [f"{case.name}{sign}{wanted}" for sign in ("_", "-")] + [wanted]
    endings = ("", ".nii.gz", ".nii")
    tried = [folder / f"{name}{ending}" for name in names for ending in endings]
    for path in tried:
        if path.is_file():
            return own_mask(path, f"case {case.name}: {path}"), {"by": path.name}
    raise InputError(
        f"case {case.name}: no brain mask called {wanted} in {folder}; expected "
        f"{case.name}_{wanted}.nii.gz, drawn on {reference}: add it, or leave --brain_mask out"
    )


def _framed(found: sitk.Image, fixed: sitk.Image, spacing: float, where: str) -> tuple[Mask, Grid]:
    """The brain on isotropic voxels along the reference's axes, in a frame like that of BraTS."""
    whole = Grid.of(isotropic(fixed, spacing))
    inside = np.argwhere(mask_on(found, whole))
    if (ml := len(inside) * spacing**3 / 1000) < LEAST_ML:
        raise InputError(
            f"{where}: the brain mask holds {ml:.0f} ml; expected more than {LEAST_ML:.0f}: is "
            "the reference an image of a head, and the right way up? A mask of your own can be "
            "given with --brain_mask"
        )
    low, high = inside.min(0), inside.max(0) + 1
    needed = high - low + 2 * int(np.ceil(MARGIN_MM / spacing))
    shape = np.maximum(np.ceil(np.array(FRAME_MM) / spacing).astype(int), needed)
    grid = whole.around(np.floor((low + high - shape) / 2), shape.tolist(), spacing)
    return mask_on(found, grid), grid


def _resample(scan: Scan, prepared: Prepared, head: sitk.Image) -> None:
    """Bring a sequence to the grid of the result; measure how well it lies there."""
    grid, transform = prepared.grid, scan.transform
    everywhere = to_itk(np.ones(scan.image.GetSize(), np.float32), Grid.of(scan.image).affine)
    scan.on_reference = resampled(smoothed(scan.image, prepared.spacing), grid, transform)
    scan.seen = mask_on(everywhere, grid, transform)
    scan.covered = 100 * float(scan.seen[prepared.brain].mean())
    if scan.registration is not None:
        where = Grid.of(head)
        seen = mask_on(everywhere, where, transform)
        mine, theirs = mask_on(head_mask(scan.image), where, transform), to_numpy(head) > 0
        both, sum_ = (mine & theirs & seen).sum(), (mine & seen).sum() + (theirs & seen).sum()
        scan.overlap = 200 * float(both) / max(float(sum_), 1.0)


def _judge(prepared: Prepared) -> None:
    """Say what is odd, and what cannot be used."""
    reference, (low, high) = prepared.reference, USUAL_ML
    if not low < prepared.brain_ml < high:
        prepared.warnings.append(
            f"the brain mask holds {prepared.brain_ml:.0f} ml; of adults {low:.0f} to {high:.0f} "
            "are usual: look at the picture"
        )
    seen = prepared.scans[reference].seen
    inner = np.asarray(ndimage.binary_erosion(np.pad(seen, 1), iterations=2), dtype=bool)
    rim = np.pad(prepared.brain, 1) & ~inner
    if (cut := float(rim.sum()) / 2 * prepared.spacing**2 / 100) > CUT_CM2:
        prepared.warnings.append(
            f"the field of view of {reference} cuts the brain: {cut:.0f} cm² of the mask lie on "
            "its border"
        )
    for name, scan in prepared.scans.items():
        if scan.registration is not None:
            _judge_registration(prepared, name, scan, scan.registration)


def _judge_registration(prepared: Prepared, name: str, scan: Scan, found: Registration) -> None:
    if scan.covered < GOOD_COVERED:
        sentence = f"{name} shows {percent(scan.covered / 100)} of the brain"
        if scan.covered < LEAST_COVERED:
            prepared.problems.append(f"{sentence}; expected {LEAST_COVERED:.0f} % or more")
        else:
            prepared.warnings.append(f"{sentence}: the rest of it is 0 there")
    figures = (
        f"the heads of {name} and {prepared.reference} overlap by {percent(scan.overlap / 100)} "
        f"after a turn of {found.degrees:.0f}° and a shift of {found.mm:.0f} mm"
    )
    if found.at_the_end:
        prepared.problems.append(f"{figures}, at the limit of the search")
    elif scan.overlap < LEAST_OVERLAP:
        prepared.problems.append(f"{figures}; expected {LEAST_OVERLAP:.0f} % or more")
    elif scan.overlap < GOOD_OVERLAP:
        prepared.warnings.append(f"{figures}: look at the picture")


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        """End a stage."""
        before, self._last = self._last, time.perf_counter()
        self.seconds[stage] = round(self._last - before, 1)
