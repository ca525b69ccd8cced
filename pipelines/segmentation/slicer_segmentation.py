"""Masks as segmentations of 3D Slicer (`.seg.nrrd`), and what a reader made of them there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from nibabel.orientations import inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from ...data.brats.checks import Grid, corner_distance, plural, voxel_sizes
from ...data.brats.conventions import CAVITY, CLASSES
from ...data.errors import InputError
from ...data.extras import optional
from ...data.files import whole_file
from .overlays import ALL_COLORS

SUFFIX = ".seg.nrrd"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE = 0.01  # of a voxel, at every corner of the grid

# DICOM PS3.16, CID 7159; the category is of CID 7150. There is no term for a resection cavity: the
# general one is taken, and the name says what it is.
_CONTEXT = "Segmentation category and type - DICOM master list"
_CATEGORY = ["SCT", "49755003", "Morphologically Abnormal Structure"]
_SEGMENTS = {
    "NCR": ("NCR necrotic or non-enhancing core", ["SCT", "6574001", "Necrosis"]),
    "ED": ("ED edema", ["SCT", "79654002", "Edema"]),
    "ET": ("ET enhancing tumor", ["NCIt", "C113842", "Enhancing Lesion"]),
    "RC": ("RC resection cavity", ["SCT", "52988006", "Lesion"]),
}


def write_for_slicer(classes: NDArray[np.uint8], affine: NDArray[np.float64], path: Path) -> None:
    """Write a mask as a segmentation with a segment for each class, whole or not at all.

    NCR, ED and ET are there, also empty: a reader may want to draw them. RC, the resection cavity,
    is there where the mask has one.

    Args:
        classes: 0 to 4, (X, Y, Z).
        affine: voxel to RAS mm, (4, 4).
        path: ends in ``.seg.nrrd``, by which Slicer knows it.

    Raises:
        InputError: slicerio is not installed, or the file cannot be written.
    """
    segments = [
        {
            "id": name,
            "name": title,
            "color": list(to_rgb(ALL_COLORS[name])),
            "labelValue": CLASSES.index(name),
            "layer": 0,
            "terminology": {"contextName": _CONTEXT, "category": _CATEGORY, "type": kind},
        }
        for name, (title, kind) in _SEGMENTS.items()
        if name != "RC" or (classes == CAVITY).any()
    ]
    content = {
        "voxels": classes.astype(np.uint8),
        "ijkToLPS": _LPS @ affine,
        "containedRepresentationNames": ["Binary labelmap"],
        "segments": segments,
    }
    with whole_file(path) as temporary:
        _slicerio().write_segmentation(str(temporary), content)


def read_from_slicer(path: Path, grid: Grid) -> NDArray[np.uint8]:
    """Read a segmentation as classes on the grid of a case's images.

    Slicer may have cropped it, turned its axes, put segments in another order or into layers of
    their own. A segment is known by its ID, or by a name that begins with NCR, ED, ET or RC.

    Args:
        path: the file.
        grid: of the images, along RAS+ axes.

    Returns:
        Classes 0 to 4, uint8, of the grid's shape.

    Raises:
        InputError: slicerio is not installed; the file cannot be read; a segment is unknown; two
            overlap; voxels lie between those of the images, or outside.
    """
    content = _content(path)
    voxels, affine = np.asarray(content["voxels"]), _LPS @ np.asarray(content["ijkToLPS"])
    layers = voxels[None] if voxels.ndim == 3 else voxels
    to_grid = _whole_steps(affine, layers.shape[1:], grid, path)
    classes = np.zeros(grid.shape, np.uint8)
    for segment in content["segments"]:
        inside = np.argwhere(layers[segment.get("layer", 0)] == segment["labelValue"])
        if not len(inside):
            continue
        value = _class_of(segment, path)
        there = np.rint(inside @ to_grid[:3, :3].T + to_grid[:3, 3]).astype(np.intp)
        outside = ~((there >= 0) & (there < grid.shape)).all(1)
        if outside.any():
            raise InputError(
                f"{path}: {plural(int(outside.sum()), 'voxel')} of {segment['name']!r} lie outside "
                f"the images of {grid.where}: is it the segmentation of another case?"
            )
        place = tuple(there.T)
        if taken := int(np.count_nonzero(classes[place])):
            raise InputError(
                f"{path}: {plural(taken, 'voxel')} of {segment['name']!r} belong to another "
                "segment too: subtract one from the other in Slicer (Logical operators)"
            )
        classes[place] = value
    return classes


def _content(path: Path) -> Mapping[str, Any]:
    slicerio = _slicerio()
    try:
        content = slicerio.read_segmentation(str(path))
        if all("labelValue" in one and "name" in one for one in content["segments"]):
            return content
        fault = "a segment has no name or no label value"
    except InputError:
        raise
    except Exception as error:  # pynrrd's own, ValueError, KeyError, zlib.error, OSError
        fault = str(error)
    raise InputError(f"{path} is no segmentation of 3D Slicer ({fault}): save it again")


def _slicerio() -> ModuleType:
    return optional("slicerio", "slicer", "segmentations of 3D Slicer")


def _class_of(segment: Mapping[str, Any], path: Path) -> int:
    for text in (segment["id"], segment["name"].partition(" ")[0]):
        if text.upper() in _SEGMENTS:
            return CLASSES.index(text.upper())
    raise InputError(
        f"{path} has a segment {segment['name']!r}; expected NCR, ED, ET and RC: let its name "
        "begin with one of these, or delete it in Slicer"
    )


def _whole_steps(
    affine: NDArray[np.float64], shape: tuple[int, ...], grid: Grid, path: Path
) -> NDArray[np.float64]:
    """From voxels of a segmentation to those of the images: turns and whole steps only."""
    to_grid = np.linalg.inv(grid.affine) @ affine
    turn = io_orientation(to_grid)
    steps = np.round(inv_ornt_aff(turn, shape))
    exact = np.eye(4)
    exact[:3, :3] = np.linalg.inv(steps)[:3, :3].round()
    exact[:3, 3] = to_grid[:3, 3].round()
    beside = corner_distance(shape, to_grid, exact)
    if beside > _SAME_PLACE:
        raise InputError(
            f"{path} does not lie on the voxels of {grid.where} ({beside:.2f} voxels beside, its "
            f"own are {' x '.join(f'{size:.3g}' for size in voxel_sizes(affine))} mm): choose the "
            "image as the source volume of the segmentation in Slicer, and save it again"
        )
    return exact
