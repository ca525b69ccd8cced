"""The features of one modality on disk: vectors as a NumPy array, and an index in JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from ..files import read_json, whole_file

FORMAT = "cggm features 2"
SUFFIX = ".npy"
BLOCK = 65_536  # vectors that are read at once

Sample = tuple[str, np.ndarray]


class FeatureFile:
    """The features of one modality, one sequence of vectors per sample, read as they are used.

    ``<name>.npy`` holds the vectors of all samples, one after the other, shape (sum of lengths, D),
    and is mapped into memory. ``<name>.npy.json`` beside it holds the ids and lengths of the
    samples in their order, a checksum of all three, and ``about``: where the features come from.
    Both are written by :func:`write_features`.

    Args:
        path: the file of vectors.

    Raises:
        InputError: one of the two is missing, damaged or no such file, or they do not fit.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        index = _read_index(self.path)
        self.ids: list[str] = index["ids"]
        self.lengths = np.array(index["lengths"], dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        self.checksum: str = index["checksum"]
        self.about: dict[str, Any] = index["about"]
        self._row = {name: row for row, name in enumerate(self.ids)}
        self._values: np.ndarray | None = _mapped(self.path)
        self.dtype: np.dtype = self._values.dtype
        steps, self.width = self._values.shape
        self._check_counts(steps)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def __getstate__(self) -> dict[str, Any]:
        # A pickled map would hold all values; the other process maps the file itself.
        return self.__dict__ | {"_values": None}

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
            InputError: the content changed since it was written.
        """
        values = self._all()
        digest = hashlib.sha256()
        for start in range(0, len(values), BLOCK):
            digest.update(np.ascontiguousarray(values[start : start + BLOCK]).data)
        digest.update(_names(self.ids, self.lengths))
        checksum = digest.hexdigest()
        if checksum != self.checksum:
            raise InputError(
                f"{self.path} is damaged: its checksum is {checksum[:12]}…, written was "
                f"{self.checksum[:12]}…; copy or extract it again"
            )

    def _all(self) -> np.ndarray:
        if self._values is None:
            self._values = _mapped(self.path)
        return self._values

    def _check_counts(self, steps: int) -> None:
        counts = (len(self.ids), len(self._row), len(self.lengths))
        total = int(self.lengths.sum())
        if len(set(counts)) > 1 or steps != total or self.lengths.min() < 1:
            raise InputError(
                f"{self.path} is inconsistent: {counts[0]} ids ({counts[1]} different), "
                f"{counts[2]} lengths that add up to {total}, {steps} vectors; expected one or "
                "more vectors of each id: extract it again"
            )


def write_features(
    path: str | Path,
    samples: Iterable[Sample],
    *,
    about: Mapping[str, Any],
    dtype: str = "float32",
) -> FeatureFile:
    """Write the features of one modality; memory holds one sample at a time.

    The same samples and ``about`` give the same bytes. A full disk or an error leaves the files
    that were there before. Only a kill between the renaming of the two files, at the very end, can
    leave the vectors without their index, which is refused; never the index of other vectors.

    Args:
        path: the file of vectors, ending in ``.npy``; folders above it are made.
        samples: pairs of a unique id and an array (T, D) with T of 1 or more and the same D.
        about: where the features come from (model, revision, pooling, source, …), plain values.
        dtype: "float32" or "float16".

    Raises:
        InputError: a sample has another shape or width, or is not finite; an id comes twice; there
            is no sample; the disk is full. What was there before is kept.
    """
    path = Path(path)
    index_path = index_of(path)
    with whole_file(index_path) as index_file, whole_file(path) as values_file:
        with open(values_file, "wb") as file:
            index = _write_values(file, samples, path, np.dtype(dtype))
            file.flush()
            os.fsync(file.fileno())
        index = {"format": FORMAT, "about": dict(sorted(about.items()))} | index
        index_file.write_text(json.dumps(index), encoding="utf-8")
        index_path.unlink(missing_ok=True)  # from here until it is replaced there are no features
    return FeatureFile(path)


def index_of(path: Path) -> Path:
    """Give the path of the index of a file of vectors."""
    return path.with_name(f"{path.name}.json")


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


def _write_values(
    file: BinaryIO, samples: Iterable[Sample], path: Path, dtype: np.dtype
) -> dict[str, Any]:
    """Write the vectors as an array of NumPy; return what the index says of them."""
    lengths: dict[str, int] = {}
    digest = hashlib.sha256()
    width: int | None = None
    for name, array in samples:
        check_array(name, array, width, path.name)
        if name in lengths:
            raise InputError(f"{path.name}: the id {name!r} comes twice; ids must be unique")
        stored = np.ascontiguousarray(array, dtype=dtype)
        check_array(name, stored, None, f"{path.name} as {dtype}")
        if width is None:
            width = int(array.shape[1])
            _write_header(file, 0, width, dtype)
        file.write(stored.data)
        digest.update(stored.data)
        lengths[name] = len(stored)
    if width is None:
        raise InputError(f"{path.name}: there is no sample to write")
    file.seek(0)
    _write_header(file, sum(lengths.values()), width, dtype)
    ids, counts = list(lengths), list(lengths.values())
    digest.update(_names(ids, counts))
    return {"checksum": digest.hexdigest(), "ids": ids, "lengths": counts}


def _write_header(file: BinaryIO, steps: int, width: int, dtype: np.dtype) -> None:
    # NumPy leaves room in it for the first axis to grow, so that its size stays the same.
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (steps, width)}
    np.lib.format.write_array_header_1_0(file, header)


def _names(ids: list[str], lengths: Sequence[int] | np.ndarray) -> bytes:
    """What the checksum covers beside the values."""
    return json.dumps(ids).encode() + np.asarray(lengths, dtype="<i8").tobytes()


def _mapped(path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError(
            f"{path} cannot be read as an array of NumPy ({_reason(error)}); it is damaged, cut "
            "short or of another kind: extract or copy it again"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.ndim != 2:
        what = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else ""
        raise InputError(
            f"{path} holds {what or 'several arrays'}; expected float32 or float16 of shape "
            "(steps, width): write it with cggm extract or cggm convert"
        )
    return values


def _read_index(path: Path) -> dict[str, Any]:
    index_path = index_of(path)
    for needed in (path, index_path):
        if needed.is_dir():
            raise InputError(f"{needed} is a folder; expected a file of features")
        if not needed.is_file():
            raise InputError(
                f"there are no features in {path}: no such file {needed.name}; extract them, or "
                f"copy both {path.name} and {index_path.name}"
            )
    try:
        index = read_json(index_path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{index_path} cannot be read as JSON ({_reason(error)}); copy or extract it again"
        ) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError(
            f"{index_path} is no index of features ('{FORMAT}'): write it with cggm extract or "
            "cggm convert"
        )
    for part, problem in _problems(index):
        raise InputError(f"{index_path}: {part} is {problem}: copy or extract it again")
    return index


def _problems(index: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name each part of an index that no program of ours writes, and what it should be."""
    ids, lengths = index.get("ids"), index.get("lengths")
    if not isinstance(ids, list) or not ids or not all(isinstance(name, str) for name in ids):
        yield "ids", "no list of texts with at least one"
    # No sum of that many lengths, each below 2 ** 40, overflows.
    if (
        not isinstance(lengths, list)
        or not lengths
        or not all(type(n) is int and abs(n) < 2**40 for n in lengths)
    ):
        yield "lengths", "no list of whole numbers with at least one"
    if not isinstance(index.get("checksum"), str):
        yield "checksum", "no text"
    if not isinstance(index.get("about"), dict):
        yield "about", "no table of names and values"


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.partition("\n")[0].rstrip(".")
