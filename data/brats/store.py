"""The slice store: all cases as plain arrays, ready to be read in microseconds.

Reading four compressed volumes for one slice takes seconds, so every case is converted once into
a folder of plain arrays (`case_folder.py`). Opening one maps the file and reads only what is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .case_folder import IMAGES, LABEL, META, Meta, read_meta
from .cases import SEQUENCES, Case
from .conversion import convert_cases


@dataclass(frozen=True)
class StoredCase:
    """One converted case; pickles as a path and small numbers, never as images.

    Attributes:
        name: name of the case.
        folder: where its arrays lie.
        sequences: names of the S stored sequences, in the order of `images`.
        present: those of them that the case has; the others are stored as zeros.
        shape: shape (X, Y, Z) of the whole volume in RAS+ axes, before cropping.
        box: the part of the whole volume that is stored, one slice per axis.
        affine: RAS+ voxel to world matrix of the whole volume, in mm, shape (4, 4).
        class_voxels: voxels of classes 1, 2, 3 in each stored slice, shape (Z, 3); None when the
            case has no label.
    """

    name: str
    folder: Path
    sequences: tuple[str, ...]
    present: tuple[str, ...]
    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    affine: NDArray[np.float64]
    class_voxels: NDArray[np.int64] | None

    @property
    def images(self) -> NDArray[np.float16]:
        """z-scores, 0 outside the brain, float16 memory map of shape (Z, S, X, Y).

        Every access opens the file anew, so that a thousand cases do not hold a thousand file
        handles; keep the result in a variable when reading many slices.
        """
        return np.load(self.folder / IMAGES, mmap_mode="r")

    @property
    def label(self) -> NDArray[np.uint8] | None:
        """Classes, uint8 memory map of shape (Z, X, Y); None when the case has no label.

        They are 0 to 3, and 4 where the case has a class for the resection cavity.
        """
        return None if self.class_voxels is None else np.load(self.folder / LABEL, mmap_mode="r")

    @property
    def tumor_slices(self) -> NDArray[np.int64]:
        """Indices of the stored slices with any tumor; empty when there is none."""
        if self.class_voxels is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.class_voxels.sum(axis=1))

    @property
    def slices(self) -> int:
        """Number of stored slices Z."""
        return self.box[2].stop - self.box[2].start

    def uncrop(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """Put stored slices, shape (Z, X, Y), back into a whole volume, shape `self.shape`."""
        whole = np.zeros(self.shape, dtype=stored.dtype)
        whole[self.box] = stored.transpose(1, 2, 0)
        return whole


class SliceStore:
    """The converted cases below one folder, one sub-folder each.

    Args:
        folder: a folder that `SliceStore.build` has filled.
        cases: names of the cases to offer; None offers every case found.

    Raises:
        InputError: the folder is not there, or holds no case.
    """

    def __init__(self, folder: str | Path, cases: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        if cases is None:
            cases = sorted(path.parent.name for path in self.folder.glob(f"[!.]*/{META}"))
        if not cases:
            raise InputError(f"no converted case in {self.folder}; build the slice store first")
        self.cases = list(cases)

    def load(self, case: str) -> StoredCase:
        """Open one case, checking the sizes of its files.

        Args:
            case: name of the case.

        Raises:
            InputError: there is no such case, or its folder is damaged.
        """
        if case not in self.cases:
            some = ", ".join(self.cases[:3])
            raise InputError(
                f"no case {case!r} in the slice store {self.folder}; "
                f"it holds {len(self.cases)} cases: {some}{', …' * (len(self.cases) > 3)}"
            )
        target = self.folder / case
        try:
            meta = read_meta(target)
        except InputError as error:
            raise InputError(f"{error}; build the slice store again to repair it") from error
        return _stored_case(case, target, meta)

    def absent_shares(self, cases: Sequence[str]) -> dict[str, float]:
        """Share of some cases that lack each of their stored sequences."""
        stored = [self.load(case) for case in cases]
        return {
            name: round(sum(name not in case.present for case in stored) / len(stored), 4)
            for name in stored[0].sequences
        }

    @classmethod
    def build(
        cls,
        cases: Sequence[Case],
        folder: str | Path,
        *,
        sequences: Sequence[str] = SEQUENCES,
        workers: int | None = None,
        progress: bool = True,
    ) -> "SliceStore":
        """Convert each case whose folder is missing, outdated or damaged, and open the store.

        Args:
            cases: cases with at least one of `sequences` each.
            folder: where the store lies; created when it is not there. About 35 MB a BraTS case.
            sequences: names of the sequences to store, in this order.
            workers: processes, each of about 0.7 GB; None means one per core, at most 8.
            progress: show a progress bar on standard error when that is a terminal.

        Raises:
            InputError: cases that cannot be used, all of them named (the others are converted
                first); or a folder that cannot be written or is too full.
        """
        folder = Path(folder)
        convert_cases(cases, folder, tuple(sequences), workers=workers, progress=progress)
        return cls(folder, sorted(case.name for case in cases))


def _stored_case(name: str, folder: Path, meta: Meta) -> StoredCase:
    x, y, z = (slice(start, stop) for start, stop in meta["box"])
    counts = meta["class_voxels"]
    return StoredCase(
        name=name,
        folder=folder,
        sequences=tuple(meta["sequences"]),
        present=tuple(name for name in meta["sequences"] if name in meta["sources"]),
        shape=tuple(meta["shape"]),
        box=(x, y, z),
        affine=np.array(meta["affine"]),
        class_voxels=None if counts is None else np.array(counts, dtype=np.int64).reshape(-1, 3),
    )
