"""The slices that an epoch shows, in the shape in which they reach the network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import InputError, some
from .store import SliceStore, StoredCase

SAMPLINGS = ("tumor", "paper", "all")

Transform = Callable[[dict[str, Any]], dict[str, Any]]


class SliceDataset(Dataset[dict[str, Any]]):
    """Axial slices of converted cases, drawn anew in every epoch.

    What an item shows depends on (seed, epoch, index) alone: not on the worker that reads it, on
    the items before it, or on whether training was resumed.

    Samplings:
        tumor: `slices_per_case` different slices per case, `tumor_share` of them out of its tumor
            slices and the others out of all slices that touch the brain.
        paper: one slice per case, each tumor slice being as likely as another (Guo et al.,
            NeurIPS 2024, their released code).
        all: every stored slice, in order.

    A case without tumor contributes slices that touch the brain, which the paper's code leaves out.

    Args:
        store: where the slices lie.
        data: names of the cases to show.
        sequences: names of the sequences, channels of "image" in this order; any of the stored
            ones. None takes all of them.
        size: height and width of an item in pixels; slices are cropped or zero-padded about their
            center. Multiples of 16 suit the networks.
        transform: augmentation, a callable on {"image": (S, X, Y), "label": (1, X, Y)} of the
            whole slice. If it has MONAI's `set_random_state`, it is seeded for every item.
        sampling: see above.
        slices_per_case: items per case and epoch (for "tumor" only).
        tumor_share: share of tumor slices among them, from 0 to 1 (for "tumor" only).
        neighbors: slices before and after it that an item shows, too; at an end of the case, the
            outermost slice again.
        seed: seed of the draws and of the augmentation.
        complete: refuse cases that lack a sequence.

    Raises:
        InputError: a setting is out of range, a case or sequence is not in the store, or a case
            has no label.
    """

    def __init__(
        self,
        store: SliceStore,
        data: Sequence[str],
        *,
        size: int | Sequence[int],
        sequences: Sequence[str] | None = None,
        transform: Transform | None = None,
        sampling: str = "tumor",
        slices_per_case: int = 8,
        tumor_share: float = 2 / 3,
        neighbors: int = 0,
        seed: int = 0,
        complete: bool = False,
    ) -> None:
        _check_settings(sampling, slices_per_case, tumor_share, neighbors, seed)
        self.transform = transform
        self.sampling = sampling
        self.tumor_share = tumor_share
        self.neighbors, self.seed = neighbors, seed
        self.cases = [store.load(name) for name in data]
        if not self.cases:
            raise InputError("no case to take slices from; expected at least one")
        self.size = _pair(size)
        self.sequences = self.cases[0].sequences if sequences is None else tuple(sequences)
        self._channels = [channels_of(case, self.sequences) for case in self.cases]
        if complete:
            _refuse_incomplete(self.cases, self.sequences)
        per_case = slices_per_case if sampling == "tumor" else 1
        counts = [case.slices if sampling == "all" else per_case for case in self.cases]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # In shared memory, so that workers that live on between epochs see the new epoch too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose slices are shown."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Show the slices of `epoch` from the next item on, in all workers."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one item.

        Returns:
            "image": float32 z-scores, shape (S, H, W), first axis left to right, second posterior
            to anterior, zeros for a sequence that the case does not have; with n neighbors
            (S (2n + 1), H, W), those of a sequence in a row; "present": which it has, bool (S,);
            "label": int64 classes 0 to 3, shape (1, H, W); "case": its name; "slice": position
            among the stored slices of the case; "index": `index`.
        """
        number, slot = self._locate(index)
        case = self.cases[number]
        position = self._position(case, number, slot)
        item = read_slice(case, position, self._channels[number], self.neighbors)
        if self.transform is not None:
            self._seed_transform(index)
            item = self.transform(item)
        return {
            "image": fit(torch.as_tensor(item["image"], dtype=torch.float32), self.size),
            "label": fit(torch.as_tensor(item["label"], dtype=torch.int64), self.size),
            "present": presence(case, self.sequences),
            "case": case.name,
            "slice": position,
            "index": index,
        }

    def _locate(self, index: int) -> tuple[int, int]:
        """Turn an index into the number of the case and the place among its items."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])

    def _position(self, case: StoredCase, number: int, slot: int) -> int:
        if self.sampling == "all":
            return slot
        draws = np.random.default_rng(np.random.SeedSequence((self.seed, self.epoch, 0, number)))
        if self.sampling == "paper":
            return int(draws.choice(_or_all(case.tumor_slices, case)))
        total = int(self._starts[number + 1] - self._starts[number])
        return int(draw_slices(case, total, self.tumor_share, draws)[slot])

    def _seed_transform(self, index: int) -> None:
        if hasattr(self.transform, "set_random_state"):
            sequence = np.random.SeedSequence((self.seed, self.epoch, 1, index))
            seed = int(sequence.generate_state(1)[0])
            self.transform.set_random_state(seed=seed)  # pyright: ignore


def draw_slices(
    case: StoredCase, total: int, tumor_share: float, draws: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the positions of `total` slices of a case, `tumor_share` of them with tumor.

    The number of tumor slices is rounded up or down at random so that the share is right on
    average. A slice is drawn twice only when the case has too few.
    """
    tumors = int(np.floor(total * tumor_share + draws.random()))
    everything = np.arange(case.slices)
    chosen = _draw(_or_all(case.tumor_slices, case), tumors, draws)
    rest = np.setdiff1d(everything, chosen)
    others = _draw(rest if rest.size else everything, total - tumors, draws)
    return np.concatenate([chosen, others])


def read_slice(
    case: StoredCase, position: int, channels: Sequence[int], neighbors: int = 0
) -> dict[str, Any]:
    """Read a stored slice: float32 "image" (S (2n + 1), X, Y), n neighbors, uint8 "label"."""
    label = case.label
    if label is None:
        raise InputError(f"{case.name} has no label")
    around = np.arange(position - neighbors, position + neighbors + 1).clip(0, case.slices - 1)
    stack = case.images[around][:, list(channels)].astype(np.float32)
    image = torch.from_numpy(stack).movedim(0, 1).flatten(0, 1)
    return {"image": image, "label": torch.from_numpy(label[position][None] + 0)}


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop or zero-pad the last two axes of `image` about their center to `size`.

    Fitting to a size and back again restores every pixel that was not cropped.

    >>> fit(torch.tensor([[1, 2, 3]]), (1, 5)).tolist()
    [[0, 1, 2, 3, 0]]
    """
    padding: list[int] = []  # the last axis first; less than 0 crops
    for side, extent in zip(reversed(size), reversed(image.shape[-2:]), strict=True):
        before = int((side - extent) / 2)
        padding += [before, side - extent - before]
    return torch.nn.functional.pad(image, padding).contiguous()


def _draw(pool: NDArray[np.int64], count: int, draws: np.random.Generator) -> NDArray[np.int64]:
    return draws.choice(pool, count, replace=count > pool.size)


def _or_all(positions: NDArray[np.int64], case: StoredCase) -> NDArray[np.int64]:
    return positions if positions.size else np.arange(case.slices)


def channels_of(case: StoredCase, sequences: Sequence[str]) -> list[int]:
    """Say where sequences lie in a stored case that has a label.

    Raises:
        InputError: a sequence is not stored, the case has none of them, or it has no label.
    """
    unknown = [name for name in sequences if name not in case.sequences]
    if unknown or not sequences:
        raise InputError(
            f"{case.name}: {', '.join(unknown) or 'no sequence'} asked for, but the slice store "
            f"holds {', '.join(case.sequences)}"
        )
    if not set(sequences) & set(case.present):
        raise InputError(
            f"{case.name} has none of {', '.join(sequences)}: leave the case out, or choose "
            "sequences with some that it has"
        )
    if case.class_voxels is None:
        raise InputError(f"{case.name} has no label, so it cannot be trained or evaluated on")
    return [case.sequences.index(name) for name in sequences]


def _refuse_incomplete(cases: Sequence[StoredCase], sequences: Sequence[str]) -> None:
    lacking = [
        f"{case.name} ({', '.join(name for name in sequences if name not in case.present)})"
        for case in cases
        if not set(sequences) <= set(case.present)
    ]
    if lacking:
        raise InputError(
            "this method trains one network per sequence, each on every case, and "
            f"{len(lacking)} of {len(cases)} training cases lack sequences: {some(lacking)}; leave "
            "them out, or choose a method that trains a fusion, such as --method joint"
        )


def presence(case: StoredCase, sequences: Sequence[str]) -> Tensor:
    """Tell which sequences a case has, bool (S,)."""
    return torch.tensor([name in case.present for name in sequences])


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise InputError(f"size is {size}; expected one or two positive numbers of pixels")
    return sides[0], sides[1]


def _check_settings(
    sampling: str, slices_per_case: int, tumor_share: float, neighbors: int, seed: int
) -> None:
    if sampling not in SAMPLINGS:
        raise InputError(f"sampling is {sampling!r}; expected one of {', '.join(SAMPLINGS)}")
    if slices_per_case < 1:
        raise InputError(f"slices_per_case is {slices_per_case}; expected 1 or more")
    if not 0 <= tumor_share <= 1:
        raise InputError(f"tumor_share is {tumor_share}; expected a number from 0 to 1")
    if neighbors < 0:
        raise InputError(f"neighbors is {neighbors}; expected 0 or more")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
