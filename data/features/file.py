"""How are the features of one modality kept on disk, so that reading them runs no code?"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from .layout import check_layout
from .quiet_file import QuietFile

FORMAT = "cggm features 1"
SUFFIX = ".h5"
# Files up to this size are kept in memory once they are read.
IN_MEMORY_BYTES = 2**30

Sample = tuple[str, np.ndarray]


class FeatureFile:
    """The features of one modality, one sequence of vectors per sample (HDF5, read lazily).

    The file has ``ids`` (N,), ``lengths`` (N,), ``values`` (sum of lengths, D) and, as attributes,
    a checksum of these and ``about``: where the features come from. It is written by
    :func:`write_features`.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, or it is not one of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._values: Any = None
        self._owner = -1
        try:
            with self._opened() as file:
                check_layout(file, self.path)
                self.ids: list[str] = [name.decode() for name in file["ids"][()]]
                self.lengths: np.ndarray = file["lengths"][()].astype(np.int64)
                stored, self.width = (int(size) for size in file["values"].shape)
                self.dtype: np.dtype = file["values"].dtype
                self.checksum = str(file.attrs["checksum"])
                self.about: dict[str, Any] = json.loads(file.attrs["about"])
        except InputError:
            raise
        # HDF5 reports damage inside a file by any of these, by what the damage hit.
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}); copy or extract it again"
            ) from error
        self.ends = np.cumsum(self.lengths)
        self._row = {name: row for row, name in enumerate(self.ids)}
        self._check_counts(stored)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def read(self, name: str) -> np.ndarray:
        """Give a copy of the features of a sample, float32 of shape (T, D).

        Raises:
            KeyError: there is no such sample.
            InputError: it holds NaN or infinity, which no network can learn from.
        """
        row = self._row[name]
        end = int(self.ends[row])
        start = end - int(self.lengths[row])
        with np.errstate(over="ignore"):
            array = np.array(self._all()[start:end], dtype=np.float32)
        if not np.isfinite(array).all():
            raise InputError(
                f"{self.path}: the features of {name} hold NaN or infinite values; extract them "
                "again, or leave the sample out"
            )
        return array

    def verify(self) -> None:
        """Read everything and compare it with the checksum.

        Raises:
            InputError: the content changed since it was written, or cannot be read.
        """
        try:
            with self._opened() as file:
                found = _checksum(self.ids, self.lengths, _blocks(file["values"]))
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}); copy or extract it again"
            ) from error
        if found != self.checksum:
            raise InputError(
                f"{self.path} is damaged: its checksum is {found[:12]}…, written was "
                f"{self.checksum[:12]}…; copy or extract it again"
            )

    def _check_counts(self, stored: int) -> None:
        counts = (len(self.ids), len(self._row), len(self.lengths))
        total = sum(self.lengths.tolist())  # of Python, which knows no overflow
        if len(set(counts)) > 1 or stored != total or min(self.lengths, default=0) < 1:
            raise InputError(
                f"{self.path} is inconsistent: {counts[0]} ids ({counts[1]} different), "
                f"{counts[2]} lengths that add up to {total}, {stored} vectors; expected one or "
                "more vectors of each id: extract it again"
            )

    def _all(self) -> Any:
        # An HDF5 handle must not be shared with a forked worker: each process opens its own, and
        # lets go of the one it was born with, or HDF5 would give it that one again.
        in_memory = isinstance(self._values, np.ndarray)
        if not in_memory and self._owner != os.getpid():
            if self._file is not None:
                self._file.close()
            self._file = self._opened()
            values = self._file["values"]
            small = values.size * values.dtype.itemsize <= IN_MEMORY_BYTES
            self._values = values[()] if small else values
            self._owner = os.getpid()
        return self._values

    def _opened(self) -> Any:
        if self.path.is_dir():
            raise InputError(f"{self.path} is a folder; expected a file of features")
        if not self.path.is_file():
            raise InputError(f"there are no features in {self.path}: no such file")
        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be read as HDF5 ({_short(error)}); it is damaged, cut short "
                "or of another kind: extract or copy it again"
            ) from error
        missing = [name for name in ("ids", "lengths", "values") if name not in file]
        if file.attrs.get("format") != FORMAT or missing:
            file.close()
            raise InputError(
                f"{self.path} holds no features of ours ('{FORMAT}'): write it with "
                "cggm.pipelines.extraction or cggm.pipelines.commands.convert"
            )
        return file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_values": None, "_owner": -1}


def write_features(
    path: str | Path,
    samples: Iterable[Sample],
    *,
    about: Mapping[str, Any],
    dtype: str = "float32",
) -> FeatureFile:
    """Write the features of one modality, whole or not at all; memory holds one sample at a time.

    The same samples and ``about`` give the same bytes.

    Args:
        path: the file, ending in ``.h5``; folders above it are made.
        samples: pairs of a unique id and an array (T, D) with T of 1 or more and the same D.
        about: where the features come from (model, revision, pooling, source, …), plain values.
        dtype: "float32" or "float16".

    Raises:
        InputError: a sample has another shape or width, or is not finite; an id comes twice; there
            is no sample; the disk is full. What was there before is kept.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w+b", buffering=0) as raw:
            output = QuietFile(raw)
            with h5py.File(output, "w") as file:
                _fill(file, _while_written(samples, output), path, np.dtype(dtype))
                file.attrs["format"] = FORMAT
                file.attrs["about"] = json.dumps(dict(about), sort_keys=True)
            output.check()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({_short(error)}): choose another output folder, or make "
            "room and give yourself the right to write there"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # below a path that is no folder there is nothing
            temporary.unlink(missing_ok=True)
    return FeatureFile(path)


def _while_written(samples: Iterable[Sample], output: QuietFile) -> Iterator[Sample]:
    for sample in samples:
        yield sample
        output.check()


def check_array(name: str, array: np.ndarray, width: int | None, where: object) -> None:
    """Refuse features that no network could use.

    Raises:
        InputError: not (T, D), of another width than ``width``, empty, or not finite.
    """
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{where}: the features of {name} have shape {array.shape}; expected (steps, width) "
            "with at least one of each"
        )
    if width is not None and array.shape[1] != width:
        raise InputError(
            f"{where}: the features of {name} are {array.shape[1]} wide, the others {width}; "
            "extract all with one model"
        )
    if not np.isfinite(array).all():
        bad = "NaN" if np.isnan(array).any() else "infinite values"
        raise InputError(f"{where}: the features of {name} hold {bad}; clean or leave it out")


def _fill(file: h5py.File, samples: Iterable[Sample], path: Path, dtype: np.dtype) -> None:
    names: dict[str, int] = {}
    values: h5py.Dataset | None = None
    digest = hashlib.sha256()
    used = 0
    for name, array in samples:
        check_array(name, array, None if values is None else values.shape[1], path.name)
        if name in names:
            raise InputError(f"{path.name}: the id {name!r} comes twice; ids must be unique")
        stored = np.ascontiguousarray(array, dtype=dtype)
        check_array(name, stored, None, f"{path.name} as {dtype}")
        if values is None:
            shape = (0, array.shape[1])
            rows = max(1, 2**18 // max(1, array.shape[1] * dtype.itemsize))
            values = file.create_dataset(
                "values", shape, dtype, maxshape=(None, shape[1]), chunks=(rows, shape[1])
            )
        if used + len(stored) > values.shape[0]:
            values.resize(max(used + len(stored), 2 * values.shape[0]), axis=0)
        values[used : used + len(stored)] = stored
        digest.update(stored.tobytes())
        names[name] = len(stored)
        used += len(stored)
    if values is None:
        raise InputError(f"{path.name}: there is no sample to write")
    values.resize(used, axis=0)
    file["ids"] = np.array([name.encode() for name in names], dtype=h5py.string_dtype())
    lengths = np.array(list(names.values()), dtype=np.int64)
    file["lengths"] = lengths
    file.attrs["checksum"] = _with_names(digest, list(names), lengths)


def _checksum(ids: list[str], lengths: np.ndarray, blocks: Iterator[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(np.ascontiguousarray(block).tobytes())
    return _with_names(digest, ids, lengths)


def _with_names(digest: Any, ids: list[str], lengths: np.ndarray) -> str:
    digest.update(json.dumps(ids).encode())
    digest.update(np.asarray(lengths, dtype="<i8").tobytes())
    return digest.hexdigest()


def _blocks(values: h5py.Dataset, rows: int = 65536) -> Iterator[np.ndarray]:
    for start in range(0, values.shape[0], rows):
        yield values[start : start + rows]


def _short(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]
