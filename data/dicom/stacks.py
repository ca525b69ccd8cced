"""Frames of a series as a regular stack of slices, sorted by place; or why they are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..brats.checks import plural
from ..errors import InputError
from .headers import Frame

TOLERANCE = 0.1  # mm that a slice may lie beside its place in a regular stack
FEWEST = 5  # slices
_SAME_DIRECTION = 1e-4  # of a cosine: 0.02 mm at the border of a slice
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# What frames at one place may differ in. The first two tell images that are each a stack.
_SPLITTING = {"echo_time": "echo times", "image_type": "image types"}
_DIFFERENT = {
    "b_value": "b-values, so this is diffusion imaging",
    "time_point": "time points, so this is a dynamic series",
    "inversion_time": "inversion times",
    "acquisition": "acquisitions",
}


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in the order of their places.

    Attributes:
        frames: sorted along the normal of the slices.
        affine: (4, 4), voxel (column, row, slice) to mm, RAS.
    """

    frames: list[Frame]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        rows, columns = self.frames[0].size
        return columns, rows, len(self.frames)

    @property
    def voxel_mm(self) -> tuple[float, ...]:
        """Distances between columns, rows and slices."""
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0).round(4).tolist())

    @property
    def plane(self) -> str:
        """Axial, coronal or sagittal, whichever is nearest."""
        normal = np.abs(self.affine[:3, 2])
        return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def split_frames(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Take apart a series that holds several images of the same places, such as two echoes.

    Copies of a file count once. A series that cannot be told apart stays as it is.
    """
    unique = list({(frame.instance, frame.number): frame for frame in frames}.values())
    if _repeated(unique):
        for attribute in _SPLITTING:
            groups: dict[str | float, list[Frame]] = {}
            for frame in unique:
                groups.setdefault(getattr(frame, attribute) or 0, []).append(frame)
            if len(groups) > 1 and not any(map(_repeated, groups.values())):
                return [
                    groups[key]
                    for key in sorted(groups, key=lambda key: (isinstance(key, str), key))
                ]
    return [unique]


def stack_frames(frames: Sequence[Frame]) -> Stack:
    """Sort frames along the normal of the slices, by position alone.

    Raises:
        InputError: they are no regular stack; the message says what is wrong, and no more.
    """
    positions, row, column, spacing = _common_geometry(frames)
    normal = np.cross(row, column)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    places = along[order]
    _refuse_repeats([frames[index] for index in order])
    step = _regular_step(places)
    beside = positions - positions[order[0]] - np.outer(along - places[0], normal)
    sideways = float(np.linalg.norm(beside, axis=1).max())
    if sideways > TOLERANCE:
        raise InputError(
            f"its slices are shifted sideways by up to {sideways:.1f} mm (a tilted stack); "
            "expected slices above each other"
        )
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[1], column * spacing[0], normal * step
    lps[:3, 3] = positions[order[0]]
    return Stack([frames[index] for index in order], _LPS_TO_RAS @ lps)


def _common_geometry(frames: Sequence[Frame]) -> tuple[NDArray[np.float64], ...]:
    """Positions, direction of rows and of columns, and spacing, which all frames share."""
    unplaced = sum(not (f.position and f.orientation and f.spacing) for f in frames)
    if unplaced:
        raise InputError(
            f"{unplaced} of its {plural(len(frames), 'image')} do not say where they lie "
            "(position, orientation or pixel spacing is missing)"
        )
    if len(frames) < FEWEST:
        raise InputError(
            f"it has {plural(len(frames), 'slice')}; expected at least {FEWEST} of a volume"
        )
    orientations = np.array([frame.orientation for frame in frames])
    if np.abs(orientations - orientations[0]).max() > _SAME_DIRECTION:
        count = len(np.unique(orientations.round(2), axis=0))
        raise InputError(
            f"its slices have different orientations (about {count}): a localizer, or several "
            "views in one series"
        )
    for what, values in (
        ("sizes", [f.size for f in frames]),
        ("pixels", [f.spacing for f in frames]),
    ):
        if not np.allclose(np.array(values, float), np.array(values[0], float), rtol=1e-4):
            raise InputError(f"its slices have different {what}: {_some(values)}")
    row, column = orientations[0, :3], orientations[0, 3:]
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(float(row @ column)) > 1e-2:
        raise InputError("the directions of its rows and columns are no right angle")
    row, column = row / lengths[0], column / lengths[1]
    positions = np.array([frame.position for frame in frames])
    return positions, row, column, np.array(frames[0].spacing)


def _regular_step(places: NDArray[np.float64]) -> float:
    """The distance between slices."""
    steps = np.diff(places)
    usual = float(np.median(steps))
    widest = int(steps.argmax())
    span = f"between {places[widest]:.1f} and {places[widest + 1]:.1f} mm"
    if steps[widest] > 1.5 * usual:
        wide = steps[steps > 1.5 * usual]
        lost = int((np.rint(wide / usual) - 1).sum())
        if np.abs(wide / usual - np.rint(wide / usual)).max() < 0.1:
            raise InputError(
                f"{plural(lost, 'slice')} missing: {plural(len(wide), 'gap')}, the widest {span} "
                f"where slices are {usual:.2f} mm apart; export the series again"
            )
        raise InputError(
            f"{plural(len(wide), 'gap')} between its slices, the widest {span} where they are "
            f"{usual:.2f} mm apart: two stacks in one series, or slices are missing"
        )
    step = float((places[-1] - places[0]) / (len(places) - 1))
    off = float(np.abs(places - places[0] - step * np.arange(len(places))).max())
    if off > TOLERANCE:
        raise InputError(
            f"the distance between its slices is irregular ({steps.min():.2f} to "
            f"{steps.max():.2f} mm): a slice lies {off:.2f} mm beside its place, and "
            f"{TOLERANCE} mm is allowed"
        )
    return step


def _repeated(frames: Sequence[Frame]) -> bool:
    """Whether several frames lie at one place in one direction."""
    places = [(_rounded(f.position), _rounded(f.orientation)) for f in frames if f.position]
    return len(set(places)) < len(places)


def _refuse_repeats(ordered: Sequence[Frame]) -> None:
    """Refuse several images at one place; frames come sorted along their normal."""
    places: dict[tuple[float, ...], list[Frame]] = {}
    for frame in ordered:
        places.setdefault(_rounded(frame.position), []).append(frame)
    repeated = [group for group in places.values() if len(group) > 1]
    if not repeated:
        return
    for attribute, what in {**_DIFFERENT, **_SPLITTING}.items():
        values = {getattr(frame, attribute) for frame in ordered}
        if len(values) > 1:
            why = f"they differ in {len(values)} {what}"
            break
    else:
        why = "nothing in their headers tells them apart"
    raise InputError(
        f"{len(repeated)} of its {plural(len(places), 'position')} hold several images: {why}"
    )


def _rounded(values: tuple[float, ...] | None) -> tuple[float, ...]:
    return tuple(round(value, 2) for value in values or ())


def _some(values: Sequence[object]) -> str:
    return ", ".join(map(str, list(dict.fromkeys(values))[:3]))
