"""Volumes between NumPy (RAS mm) and SimpleITK (LPS mm), and their resampling onto other grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ....data.brats.checks import voxel_sizes

Array = NDArray[np.float32]
Affine = NDArray[np.float64]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS mm, and back


class Grid(NamedTuple):
    """Where voxels lie: their number along each axis (X, Y, Z), and voxel to RAS mm, (4, 4)."""

    shape: tuple[int, ...]
    affine: Affine

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of an image."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        return cls(tuple(image.GetSize()), LPS @ affine)

    def around(self, low: Sequence[float], shape: Sequence[int], mm: float) -> Grid:
        """The grid of isotropic voxels along these axes.

        Args:
            low: its first voxel, in voxels of this grid.
            shape: its voxels.
            mm: their edge.
        """
        affine = self.affine.copy()
        affine[:3, :3] *= mm / voxel_sizes(self.affine)
        affine[:3, 3] = self.affine[:3, :3] @ np.asarray(low) + self.affine[:3, 3]
        return Grid(tuple(shape), affine)

    def split(self, parts: NDArray[np.int64]) -> Grid:
        """The grid whose voxels are parts of these; `parts` says in how many each axis is cut."""
        affine = self.affine.copy()
        affine[:3, :3] /= parts
        affine[:3, 3] += self.affine[:3, :3] @ ((1 / parts - 1) / 2)
        return Grid(tuple(int(n * k) for n, k in zip(self.shape, parts, strict=True)), affine)


def to_itk(voxels: NDArray[np.generic], affine: Affine) -> sitk.Image:
    """An image of voxels (X, Y, Z); those of type bool become uint8."""
    array = voxels.astype(np.uint8) if voxels.dtype == bool else voxels
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    lps, sizes = LPS @ affine, voxel_sizes(affine)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    return image


def to_numpy(image: sitk.Image) -> Array:
    """The voxels (X, Y, Z) of an image, float32."""
    return sitk.GetArrayFromImage(image).T.astype(np.float32, copy=False)


def resampled(image: sitk.Image, grid: Grid, transform: sitk.Transform | None = None) -> Array:
    """Read an image on another grid by linear interpolation; 0 where it has no voxels.

    Args:
        image: any type of voxels.
        grid: of the result.
        transform: from points of the grid to points of the image; None leaves them.
    """
    place = to_itk(np.zeros((1, 1, 1), np.uint8), grid.affine)
    read = sitk.Resample(
        sitk.Cast(image, sitk.sitkFloat32),
        list(grid.shape),
        transform or sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        place.GetOrigin(),
        place.GetSpacing(),
        place.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )
    return to_numpy(read)


def smoothed(image: sitk.Image, mm: float) -> sitk.Image:
    """Blur an image for voxels of `mm`, along the axes where its own are smaller."""
    variances = [max(mm**2 - size**2, 0) / 4 for size in image.GetSpacing()]
    return sitk.DiscreteGaussian(sitk.Cast(image, sitk.sitkFloat32), variances)


def isotropic(image: sitk.Image, mm: float) -> sitk.Image:
    """An image with voxels of `mm` along its own axes, blurred where its own are smaller."""
    own = Grid.of(image)
    shape = [
        max(1, round(n * size / mm)) for n, size in zip(own.shape, image.GetSpacing(), strict=True)
    ]
    middle = (np.array(own.shape) - 1) / 2
    low = middle - (np.array(shape) - 1) / 2 * mm / np.array(image.GetSpacing())
    grid = own.around(low.tolist(), shape, mm)
    return to_itk(resampled(smoothed(image, mm), grid), grid.affine)


def labels_on(
    labels: NDArray[np.integer], affine: Affine, grid: Grid, transform: sitk.Transform
) -> NDArray[np.integer]:
    """Bring labels onto another grid, where they together hold more than half of a voxel.

    There the label with the largest share of it is taken, so that thin labels do not make the whole
    smaller and no value arises that was not there. Shares are linear interpolations of the labels
    one by one, over a thick slice their means.

    Args:
        labels: of any codes, 0 is background, shape (X, Y, Z).
        affine: voxel of `labels` to RAS mm.
        grid: of the result.
        transform: from points of the grid to points of the labels.
    """
    ratio = voxel_sizes(grid.affine) / voxel_sizes(affine)
    parts = np.maximum(1, np.rint(ratio)).astype(np.int64)
    fine = grid.split(parts)
    (x, y, z), (a, b, c) = grid.shape, parts.tolist()
    result = np.zeros(grid.shape, labels.dtype)
    largest, together = np.zeros((2, *grid.shape), np.float32)
    for value in np.unique(labels[labels != 0]).tolist():
        share = resampled(to_itk(labels == value, affine), fine, transform)
        share = share.reshape(x, a, y, b, z, c).mean((1, 3, 5))
        result[share > largest] = value
        largest = np.maximum(largest, share)
        together += share
    result[together <= 0.5] = 0
    return result
