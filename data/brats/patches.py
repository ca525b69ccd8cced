"""Random patches of volumes: what a network for volumes is trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .conventions import region_mask
from .slices import SliceDataset, Transform, fit, presence
from .store import SliceStore, StoredCase

_MARGIN = 1.25  # what a transform may crop, rotate and zoom in, in sides of a patch


class PatchDataset(SliceDataset):
    """Cubes of converted cases, drawn anew in every epoch.

    A patch lies about one of the slices that :class:`SliceDataset` would show, by the same
    samplings: about a random pixel of its tumor, or of its brain where it has none. So with
    "tumor" two thirds of the patches are certain to show tumor, as in MONAI's
    `RandCropByPosNegLabel` with two to one. A case that is smaller than a patch is padded with
    zeros. The transform sees the patch with a margin in the axial plane and does the same to all
    of its slices.

    Args:
        store: as for :class:`SliceDataset`, as are `data`, `sequences`, `transform`, `sampling`,
            `seed` and `complete`.
        data: see `store`.
        patch_size: side of a patch in voxels; multiples of 8 suit the network.
        sequences: see `store`.
        transform: see `store`.
        sampling: see `store`.
        patches_per_case: patches per case and epoch (for "tumor" only).
        seed: see `store`.
        complete: see `store`.

    Raises:
        InputError: a setting is out of range, a case or sequence is not in the store, or a case
            has no label.
    """

    def __init__(
        self,
        store: SliceStore,
        data: Sequence[str],
        *,
        patch_size: int,
        sequences: Sequence[str] | None = None,
        transform: Transform | None = None,
        sampling: str = "tumor",
        patches_per_case: int = 1,
        seed: int = 0,
        complete: bool = False,
    ) -> None:
        if patch_size < 8:
            raise InputError(f"patch_size is {patch_size}; expected 8 voxels or more")
        if patches_per_case < 1:
            raise InputError(f"patches_per_case is {patches_per_case}; expected 1 or more")
        super().__init__(
            store,
            data,
            size=patch_size,
            sequences=sequences,
            transform=transform,
            sampling=sampling,
            slices_per_case=patches_per_case,
            seed=seed,
            complete=complete,
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one item.

        Returns:
            "image": float32 z-scores, shape (S, X, Y, Z) with the sides of a patch, axes RAS+,
            zeros for a sequence that the case does not have; "present": which it has, bool (S,);
            "label": int64 classes 0 to 3, shape (1, X, Y, Z); "case": its name; "slice": position
            of the slice it lies about among the stored slices of the case; "index": `index`.
        """
        number, slot = self._locate(index)
        case = self.cases[number]
        position = self._position(case, number, slot)
        draws = np.random.default_rng(np.random.SeedSequence((self.seed, self.epoch, 2, index)))
        item = read_patch(case, position, self._channels[number], self.size[0], draws)
        if self.transform is not None:
            self._seed_transform(index)
            item = self.transform(item)
        return {
            "image": self._cube(torch.as_tensor(item["image"], dtype=torch.float32)),
            "label": self._cube(torch.as_tensor(item["label"], dtype=torch.int64)),
            "present": presence(case, self.sequences),
            "case": case.name,
            "slice": position,
            "index": index,
        }

    def _cube(self, slices: Tensor) -> Tensor:
        """Bring (C, Z, X, Y) to (C, X, Y, Z) with the sides of a patch."""
        return fit(fit(slices, self.size).movedim(1, -1), self.size)


def read_patch(
    case: StoredCase,
    position: int,
    channels: Sequence[int],
    side: int,
    draws: np.random.Generator,
) -> dict[str, Any]:
    """Read slices about a stored one, cut to a random pixel of its tumor or brain with a margin.

    Returns:
        float32 "image" (S, Z, X, Y) and uint8 "label" (1, Z, X, Y).
    """
    label = case.label
    if label is None:
        raise InputError(f"{case.name} has no label")
    images = case.images
    pixels = np.argwhere(region_mask(label[position], "WT"))
    if not len(pixels):
        pixels = np.argwhere((images[position] != 0).any(0))
    center = pixels[draws.integers(len(pixels))] if len(pixels) else np.array(label.shape[1:]) // 2
    wide = int(_MARGIN * side)
    z = _span(position, side, label.shape[0])
    x, y = (_span(int(c), wide, n) for c, n in zip(center, label.shape[1:], strict=True))
    image = images[z, list(channels), x, y].swapaxes(0, 1).astype(np.float32)
    return {"image": torch.from_numpy(image), "label": torch.from_numpy(label[z, x, y][None] + 0)}


def _span(center: int, side: int, extent: int) -> slice:
    """A part of `side` voxels about one of them, moved into the volume."""
    start = min(max(center - side // 2, 0), max(extent - side, 0))
    return slice(start, min(start + side, extent))


def training_dataset(
    store: SliceStore,
    data: Sequence[str],
    *,
    size: int | Sequence[int],
    slices_per_case: int,
    patch_size: int | None,
    patches_per_case: int,
    neighbors: int = 0,
    **common: Any,
) -> SliceDataset:
    """Build what the BraTS bundle trains on: slices, or patches where they have a size.

    Args:
        store: where the slices lie.
        data: names of the cases.
        size: see :class:`SliceDataset`, as for `slices_per_case` and what is common to both.
        slices_per_case: see `size`.
        patch_size: None for slices, else see :class:`PatchDataset`.
        patches_per_case: likewise.
        neighbors: see `size`.
        common: further arguments of both.

    Raises:
        InputError: patches are shown and neighbors asked for; or as for the two.
    """
    if patch_size is None:
        return SliceDataset(
            store,
            data,
            size=size,
            slices_per_case=slices_per_case,
            neighbors=neighbors,
            **common,
        )
    if neighbors:
        raise InputError(
            f"neighbors is {neighbors}, but patches of volumes have theirs: leave neighbors out, "
            "or train on slices with --architecture deeplabv3plus"
        )
    return PatchDataset(
        store, data, patch_size=patch_size, patches_per_case=patches_per_case, **common
    )
