"""Generated data whose imbalance is known: six families, each with a dial from none to strong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.data import Dataset

from ....data.errors import InputError

TASKS = ("classification", "regression", "segmentation")
TRAIN = {"classification": 640, "regression": 640, "segmentation": 192}
VAL = {"classification": 1000, "regression": 1000, "segmentation": 200}
TEST = {
    "classification": 20_000,
    "regression": 20_000,
    "segmentation": 2000,
}  # images of 36 pixels
NOISE = {"classification": 1.2, "regression": 1.0, "segmentation": 1.6}  # on the evidence
SIGN = 2.0  # how loud the signs are that hide evidence, beside noise of 0.5
WIDTH = {"classification": 16, "regression": 16, "segmentation": 8}  # channels of a modality
BY_HEART = 400  # further channels of noise, at most, that tell training samples apart
SIDE, BLUR = 6, 1.2  # pixels of an image, and of the smoothing of its regions


@dataclass(frozen=True)
class Part(Dataset[dict[str, Any]]):
    """Samples for training, validation or testing, in memory; a loader reads whole batches.

    Attributes:
        inputs: by modality, vectors (N, W) or images (N, W, 6, 6), float32, standardized.
        label: class numbers (N,), values (N, 1), or class numbers (N, 1, 6, 6).
    """

    inputs: dict[str, Tensor]
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One sample, as a batch of one without its first axis."""
        inputs = {name: values[row] for name, values in self.inputs.items()}
        return {"inputs": inputs, "label": self.label[row], "id": str(row)}

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Any]:
        """A batch: "inputs" by modality and "label" in rows, and the samples' numbers as "id"."""
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return {"inputs": inputs, "label": self.label[rows], "id": list(map(str, rows))}

    def at(self, rows: Tensor) -> Part:
        """Some of the samples, by their numbers."""
        return Part({name: values[rows] for name, values in self.inputs.items()}, self.label[rows])

    def of(self, modality: str) -> Part:
        """The same samples with one modality only."""
        return Part({modality: self.inputs[modality]}, self.label)


@dataclass(frozen=True)
class Sources:
    """What modalities are made of.

    Attributes:
        u: two values per sample or pixel that the label is made of, shape (N, 2, ...).
        noise: of each modality, shape (M, N, 4, ...): two channels for plain, two for hidden u.
        signs: of each modality, 1 or -1, shape (M, N, 2, ...).
    """

    u: np.ndarray
    noise: np.ndarray
    signs: np.ndarray

    @property
    def last(self) -> int:
        return len(self.noise) - 1


@dataclass
class View:
    """What one modality shows.

    Attributes:
        plain: its part of u as it is.
        noise: added to plain and hidden u.
        hidden: u behind a product of signs.
        signs: factors of such a product, here or of another modality.
        by_heart: how many channels of noise tell training samples apart.
    """

    plain: np.ndarray
    noise: np.ndarray
    hidden: np.ndarray | float = 0.0
    signs: np.ndarray | float = 0.0
    by_heart: int = 0


Family = Callable[[Sources, int, float], View]


def late(sources: Sources, m: int, dial: float) -> View:
    """The last modality hides u behind a product of two signs, which it shows as well.

    It tells as much as the others but is learned later: reading it takes a product of three.
    """
    view = View(sources.u, sources.noise[m])
    if m == sources.last:
        view.signs = dial * sources.signs[m]
        view.hidden = dial**0.5 * sources.u * sources.signs[m].prod(1, keepdims=True)
        view.plain = (1 - dial) ** 0.5 * sources.u
    return view


def memorized(sources: Sources, m: int, dial: float) -> View:
    """The last modality tells little, and much by which samples can be learned by heart."""
    view = View(sources.u, sources.noise[m])
    if m == sources.last:
        view.plain, view.by_heart = (1 - 0.8 * dial) * sources.u, round(dial * BY_HEART)
    return view


def noise(sources: Sources, m: int, dial: float) -> View:
    """The last modality tells nothing."""
    return View((1 - dial if m == sources.last else 1.0) * sources.u, sources.noise[m])


def duplicate(sources: Sources, m: int, dial: float) -> View:
    """All modalities show the same, noise included: one would be enough."""
    shared = (1 - dial) ** 0.5 * sources.noise[m] + dial**0.5 * sources.noise[0]
    return View(sources.u, sources.noise[0] if m == 0 else shared)


def complementary(sources: Sources, m: int, dial: float) -> View:
    """Each modality shows one of the two values; the label needs both."""
    plain = sources.u.copy()
    plain[:, 1 - m % 2] *= 1 - dial
    return View(plain, sources.noise[m])


def xor(sources: Sources, m: int, dial: float) -> View:
    """The first modality hides u, the others show the signs: alone, none tells anything."""
    view = View((1 - dial) ** 0.5 * sources.u, sources.noise[m])
    if m == 0:
        view.hidden = dial**0.5 * sources.u * sources.signs[1:].prod(0)
    else:
        view.signs = dial * sources.signs[m]
    return view


FAMILIES: dict[str, Family] = {
    family.__name__: family for family in (late, memorized, noise, duplicate, complementary, xor)
}


def check_family(name: str) -> None:
    """Refuse a name that is no family's.

    Raises:
        InputError: there is none of this name.
    """
    if name not in FAMILIES:
        raise InputError(f"there is no family {name!r}; there are {', '.join(FAMILIES)}")


def draw(
    family: str, dial: float, modalities: int, task: str, seed: int, *, test: bool = True
) -> dict[str, Part]:
    """Draw samples for training, validation and testing, all independent of each other.

    Two values u per sample (or pixel) make the label: their signs are the four classes, their sum
    over the root of 2 is the value of a regression. A modality shows u with noise of its own, as
    its family says, in channels that a random rotation mixes. At dial 0 all modalities are equal,
    and so are all families.

    Args:
        family: a key of :data:`FAMILIES`.
        dial: in [0, 1].
        modalities: how many, M > 1.
        task: one of :data:`TASKS`.
        seed: of all that is drawn.
        test: whether there are test samples; draws of the search have none.

    Returns:
        "train", "val" and, with ``test``, "test".

    Raises:
        InputError: there is no such family.
    """
    check_family(family)
    draws = np.random.default_rng(seed)
    counts = {"train": TRAIN[task], "val": VAL[task]} | ({"test": TEST[task]} if test else {})
    parts = {}
    for name, count in counts.items():
        sources, label = _sources(draws, modalities, task, count)
        inputs = {
            f"m{m + 1}": _mixed(FAMILIES[family](sources, m, dial), WIDTH[task], draws, (seed, m))
            for m in range(modalities)
        }
        parts[name] = Part(inputs, torch.from_numpy(label))
    return {name: standardized(part, parts["train"]) for name, part in parts.items()}


def _sources(
    draws: np.random.Generator, modalities: int, task: str, count: int
) -> tuple[Sources, np.ndarray]:
    place = (SIDE, SIDE) if task == "segmentation" else ()
    u = _normal(draws, (count, 2, *place))
    if place:
        u = gaussian_filter(u, BLUR, axes=(2, 3), mode="wrap")
    if task == "regression":
        label = (u.sum(1, keepdims=True) / 2**0.5).astype(np.float32)
    else:
        u = np.where(u > 0, np.float32(1), np.float32(-1))
        label = (2 * (u[:, :1] > 0) + (u[:, 1:] > 0)).astype(np.int64)
    noise = NOISE[task] * _normal(draws, (modalities, count, 4, *place))
    signs = draws.choice(np.array([-1, 1], np.float32), (modalities, count, 2, *(1 for _ in place)))
    return Sources(u, noise, signs), label[:, 0] if task == "classification" else label


def _mixed(view: View, width: int, draws: np.random.Generator, rotation: tuple[int, int]) -> Tensor:
    """All channels of a modality, (N, W, ...), behind a rotation that is the same for all parts."""
    shape = view.plain.shape
    hidden = view.noise[:, 2:] + view.hidden
    signs = _normal(draws, shape) / 2
    signs += SIGN * view.signs
    rest = _normal(draws, (shape[0], width - 6 + view.by_heart, *shape[2:]))
    channels = np.concatenate([view.plain + view.noise[:, :2], hidden, signs, rest], 1)
    size = channels.shape[1]
    turn = np.linalg.qr(np.random.default_rng(rotation).normal(size=(size, size)))[0]
    mixed = np.moveaxis(channels, 1, -1) @ turn.astype(np.float32)
    return torch.from_numpy(np.moveaxis(mixed, -1, 1))


def standardized(part: Part, train: Part) -> Part:
    """Mean 0 and deviation 1 of each channel over the training samples.

    Args:
        part: what is changed.
        train: the training samples; a channel that is the same for all of them becomes 0.
    """
    inputs = {}
    for name, values in part.inputs.items():
        reference = train.inputs[name]
        axes = [axis for axis in range(reference.ndim) if axis != 1]
        mean, deviation = reference.mean(axes, keepdim=True), reference.std(axes, keepdim=True)
        deviation[deviation < 1e-6] = 1
        inputs[name] = ((values - mean) / deviation).contiguous()
    return Part(inputs, part.label)


def _normal(draws: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return draws.standard_normal(shape, dtype=np.float32)
