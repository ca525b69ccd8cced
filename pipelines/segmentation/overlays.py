"""A picture of one case: its sequences, and the segmentation drawn over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...data.brats.conventions import REGIONS, region_mask
from ...data.colors import BLUE, GREEN, VERMILION, YELLOW
from ...data.files import write_atomically

COLORS = {"NCR": BLUE, "ED": YELLOW, "ET": VERMILION}
ALL_COLORS = {**COLORS, "RC": GREEN}  # RC only where a network tells it


def draw_overlay(
    path: Path,
    images: Mapping[str, np.ndarray],
    prediction: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    title: str,
    voxel_ml: float,
    untold: Collection[str] = (),
    note: str = "",
    regions: Collection[str] = REGIONS,
) -> None:
    """Write a PNG with each sequence, the prediction and the truth on the slice with most tumor.

    Args:
        path: the file to write; it appears only when complete.
        images: sequence name to intensities in RAS+ axes, shape (X, Y, Z).
        prediction: classes 0 to 4 on the same grid, shape (X, Y, Z).
        truth: likewise, when there is one.
        title: what stands above the picture.
        voxel_ml: volume of a voxel in milliliters.
        untold: classes that cannot be told from these sequences; no volume is given for them.
        note: a line below the title.
        regions: those that the network tells.
    """
    colors = ALL_COLORS if "RC" in regions else COLORS
    masks = {"prediction": prediction} | ({} if truth is None else {"truth": truth})
    known = truth is not None and region_mask(truth, "WT").any()
    z = busiest_slice(truth if truth is not None and known else prediction)
    window = brain_window([image[:, :, z] for image in images.values()])
    slices = {name: image[:, :, z][window] for name, image in images.items()}
    below = gray(next((slices[s] for s in ("t1ce", "flair") if s in slices), [*slices.values()][0]))
    columns = len(images) + len(masks)
    figure = Figure(figsize=(2.3 * columns, 3.7), facecolor="black", layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis, (name, image) in zip(axes, slices.items(), strict=False):
        show_slice(axis, gray(image), name)
    for axis, (name, mask) in zip(axes[len(images) :], masks.items(), strict=True):
        show_slice(
            axis,
            colored(below, mask[:, :, z][window]),
            _caption(name, mask, voxel_ml, untold if name == "prediction" else (), colors),
        )
    heading = f"{title}, axial slice {z}" + (f"\n{note}" if note else "")
    figure.suptitle(heading, color="white", fontsize=8 if note else 10, wrap=True)
    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(colors),
        fontsize=8,
        frameon=False,
        labelcolor="white",
    )
    write_atomically(path, FigureCanvasAgg(figure).print_png)


def busiest_slice(mask: np.ndarray) -> int:
    """Index along the last axis with most tumor, the middle where there is none."""
    area = region_mask(mask, "WT").sum((0, 1))
    return int(area.argmax()) if area.any() else mask.shape[2] // 2


def brain_window(images: Sequence[np.ndarray], margin: int = 3) -> tuple[slice, slice]:
    """The part of a slice where any image is not zero, with a margin; all of it where none is."""
    inside = np.any([image != 0 for image in images], axis=0)
    if not inside.any():
        return slice(None), slice(None)
    x, y = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    first, second = (slice(max(i[0] - margin, 0), i[-1] + 1 + margin) for i in (x, y))
    return first, second


def gray(image: np.ndarray) -> np.ndarray:
    """Scale a slice to gray values between the 1st and 99th percentile of the brain, (X, Y, 3)."""
    brain = image[image != 0]
    low, high = np.percentile(brain, (1, 99)) if brain.size else (0.0, 1.0)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * (image != 0)
    return np.repeat(scaled[..., None], 3, axis=-1)


def colored(picture: np.ndarray, mask: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """Lay the classes' colors over a gray picture, (X, Y, 3)."""
    picture = picture.copy()
    for value, color in enumerate(ALL_COLORS.values(), start=1):
        inside = mask == value
        picture[inside] = (1 - opacity) * picture[inside] + opacity * np.array(to_rgb(color))
    return picture


def _caption(
    name: str,
    mask: np.ndarray,
    voxel_ml: float,
    untold: Collection[str],
    classes: Collection[str],
) -> str:
    volumes = [
        f"{c} –" if c in untold else f"{c} {(mask == i).sum() * voxel_ml:.0f}"
        for i, c in enumerate(classes, start=1)
    ]
    return f"{name}\n{' · '.join(volumes)} ml"


def show_slice(axes: Axes, picture: np.ndarray, caption: str) -> None:
    """Show a slice along RAS+ axes, (X, Y, 3), as radiologists do, with words above it.

    Anterior is up, the patient's left on the right.
    """
    axes.imshow(np.flip(np.swapaxes(picture, 0, 1), (0, 1)), interpolation="nearest")
    axes.set_title(caption, color="white", fontsize=9, parse_math=False)
    axes.axis("off")
