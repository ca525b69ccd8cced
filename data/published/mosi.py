"""CMU-MOSI as a pickle, in the form that MulT, MMSA and the authors of CGGM read.

A dictionary of ``train``, ``valid`` and ``test``, each with ``text``, ``audio`` and ``vision``
(N, T, D), labels in [-3, 3] and, as a rule, ``id``. The two variants differ in the names of the
labels, in the form of the ids, and in whether lengths are given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, some
from .pickled_arrays import read_arrays
from .published_set import Modality, Progress, PublishedSet, fitting_groups, share, silently
from .sequences import Sequences, padded_sequences

MODALITIES = ("text", "audio", "vision")
PADDINGS = ("each", "together")
LARGEST = 3.0
SOURCE = "CMU-MOSI (Zadeh et al. 2016), features as distributed for MulT or MMSA"
TERMS = "See the owner's page (CMU MultiComp Lab); the videos belong to their makers."

_SPLITS = {"train": ("train",), "val": ("valid", "val", "dev"), "test": ("test",)}
_LABELS = ("labels", "regression_labels")


@dataclass(frozen=True)
class _Part:
    split: str
    ids: list[str]
    videos: list[str]
    labels: list[float]
    arrays: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray | None]


def read_mosi(
    path: str | Path,
    *,
    padding: str = "each",
    name: str = "CMU-MOSI",
    progress: Progress = silently,
) -> PublishedSet:
    """Read a pickle of CMU-MOSI (or CMU-MOSEI, which has the same form).

    Values that are not finite become 0, as in the authors' code, which does so for -infinity in
    audio. Steps that are all zero at the beginning or the end are padding and taken off.

    Args:
        path: the pickle.
        padding: "each" takes the padding off each modality by itself; "together" takes off only
            steps that are zero in all modalities, so that steps of aligned data stay aligned.
        name: of the data set, as it stands in logs and reports.
        progress: goes through the samples.

    Raises:
        InputError: it is no such pickle, or its content cannot be used.
    """
    path = Path(path)
    if padding not in PADDINGS:
        raise InputError(f"padding is {padding!r}; expected one of {', '.join(PADDINGS)}")
    parts = _parts(read_arrays(path), path)
    _check_widths(parts, path)
    ids = [each for part in parts for each in part.ids]
    notes = _unique(ids, parts)
    sequences = {modality: _sequences(parts, modality) for modality in MODALITIES}
    notes += padded_sequences(
        sequences, together=padding == "together", progress=progress, where=path
    )
    rows, remarks = _rows(parts, ids)
    return PublishedSet(
        name=name,
        task="regression",
        classes=None,
        rows=rows,
        modalities={key: _modality(ids, each) for key, each in sequences.items()},
        notes=[*notes, *remarks],
        files=[path],
        settings={"padding": padding, "name": name},
        source=SOURCE if name == "CMU-MOSI" else f"{name}, a pickle in the form of CMU-MOSI",
        terms=TERMS,
    )


def _modality(ids: list[str], sequences: Sequences) -> Modality:
    def read() -> Iterator[tuple[str, np.ndarray]]:
        return zip(ids, sequences.read(), strict=True)

    return Modality(sequences.width, sequences.lengths(), read)


def _parts(content: Any, path: Path) -> list[_Part]:
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds {type(content).__name__} on top; expected a dictionary with train, "
            "valid and test: is it a pickle of CMU-MOSI?"
        )
    found = {
        split: next((content[name] for name in names if name in content), None)
        for split, names in _SPLITS.items()
    }
    missing = [split for split in ("train", "test") if found[split] is None]
    if missing:
        raise InputError(
            f"{path} has no {' and no '.join(missing)} part, found {some(list(content), 6)}; "
            "expected a dictionary with train, valid and test"
        )
    return [_part(split, part, path) for split, part in found.items() if part is not None]


def _part(split: str, content: Any, path: Path) -> _Part:
    where = f"{path}, part {split}"
    if not isinstance(content, dict):
        raise InputError(f"{where} holds {type(content).__name__}; expected a dictionary of arrays")
    key = next((name for name in _LABELS if name in content), None)
    missing = [name for name in MODALITIES if name not in content]
    if missing or key is None:
        raise InputError(
            f"{where} has no {', '.join(missing or ['labels'])}; found {some(list(content))}, "
            "expected text, audio, vision and labels (or regression_labels)"
        )
    arrays = {name: _array(content[name], f"{where}: {name}", 3) for name in MODALITIES}
    labels = _labels(content[key], f"{where}: {key}")
    counts = {name: len(array) for name, array in arrays.items()} | {key: len(labels)}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
        raise InputError(f"{where} has different numbers of samples: {found}; write it again")
    if not labels:
        raise InputError(f"{where} is empty; expected at least one sample")
    names = _names(content.get("id"), split, len(labels), where)
    lengths = {name: _given_lengths(content, name, len(labels), where) for name in MODALITIES}
    ids, videos = zip(*names, strict=True)
    return _Part(split, list(ids), list(videos), labels, arrays, lengths)


def _array(value: Any, where: str, axes: int) -> np.ndarray:
    array = _numbers(value, where)
    if array.dtype.kind not in "iuf" or array.ndim != axes or 0 in array.shape[1:]:
        raise InputError(
            f"{where} has shape {array.shape} and type {array.dtype}; expected numbers of shape "
            "(samples, steps, width)"
        )
    return array


def _numbers(value: Any, where: str) -> np.ndarray:
    """An array as it is, or of lists of numbers; never of texts, which could fill the memory."""
    try:
        return value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{where} is no array of numbers in equally long samples ({str(error)[:80]}); write it "
            "as an array of NumPy"
        ) from error


def _labels(value: Any, where: str) -> list[float]:
    array = _numbers(value, where)
    if array.dtype.kind not in "iuf" or array.ndim == 0 or array.size != len(array):
        raise InputError(
            f"{where} has shape {array.shape} and type {array.dtype}; expected one number per "
            "sample: (N,), (N, 1) or (N, 1, 1)"
        )
    array = array.reshape(-1).astype(np.float64)
    bad = np.flatnonzero(~(np.abs(array) <= LARGEST + 1e-6))
    if bad.size:
        shown = some([f"sample {index} has {array[index]:g}" for index in bad])
        raise InputError(
            f"{where}: {share(bad.size, len(array))} lie outside of [-3, 3]: {shown}; is this "
            "CMU-MOSI, and are the labels sentiment?"
        )
    return array.tolist()


def _names(value: Any, split: str, count: int, where: str) -> list[tuple[str, str]]:
    """Id and video of each sample; made up where the pickle has none."""
    if value is None:
        return [(f"{split}-{index:05d}", "") for index in range(count)]
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim):
        raise InputError(f"{where}: id holds {type(value).__name__}; expected a list or an array")
    if len(value) != count:
        raise InputError(f"{where} has {len(value):,} ids for {count:,} samples; write it again")
    names = [_name(entry) for entry in value]
    empty = sum(not name for name, _ in names)
    if empty:
        raise InputError(f"{where}: {share(empty, count)} ids are empty; give each sample its own")
    return names


def _name(entry: Any) -> tuple[str, str]:
    """MulT: (video, start, end). MMSA: "video$_$clip"."""
    parts = entry if isinstance(entry, (list, tuple)) else np.ravel(entry)
    fields = [_text(field) for field in parts]
    fields = fields[0].split("$_$") if len(fields) == 1 else fields
    return "_".join(fields), fields[0] if len(fields) > 1 else ""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _given_lengths(
    content: Mapping[str, Any], name: str, count: int, where: str
) -> np.ndarray | None:
    if f"{name}_lengths" not in content:
        return None
    array = _numbers(content[f"{name}_lengths"], f"{where}: {name}_lengths")
    if array.size != count or array.dtype.kind not in "iuf":
        raise InputError(f"{where}: {name}_lengths has shape {array.shape}; expected ({count},)")
    return np.nan_to_num(array.reshape(-1), nan=-1, posinf=-1, neginf=-1).astype(np.int64)


def _sequences(parts: list[_Part], name: str) -> Sequences:
    return Sequences(name, [part.arrays[name] for part in parts], [p.lengths[name] for p in parts])


def _check_widths(parts: list[_Part], path: Path) -> None:
    for name in MODALITIES:
        widths = {part.split: part.arrays[name].shape[2] for part in parts}
        if len(set(widths.values())) > 1:
            found = ", ".join(f"{width} in {split}" for split, width in widths.items())
            raise InputError(f"{path}: {name} has different widths: {found}; write it again")


def _unique(ids: list[str], parts: list[_Part]) -> list[str]:
    """Number ids that come twice, and say so."""
    seen: Counter[str] = Counter()
    twice = [name for name, count in Counter(ids).items() if count > 1]
    for index, name in enumerate(ids):
        seen[name] += 1
        if seen[name] > 1:
            ids[index] = f"{name}-{seen[name]}"
    if not twice:
        return []
    return [f"{len(twice):,} ids come more than once and were numbered: {some(twice)}"]


def _rows(parts: list[_Part], ids: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    videos = [video for part in parts for video in part.videos]
    splits = [part.split for part in parts for _ in part.ids]
    labels = [label for part in parts for label in part.labels]
    notes: list[str] = []
    known = all(videos)
    if known and fitting_groups({"video": videos}, splits) is None:
        both = [
            v
            for v, n in Counter(v for v, _ in set(zip(videos, splits, strict=True))).items()
            if n > 1
        ]
        notes.append(
            f"{len(both):,} videos lie in two published parts, so that parts share "
            f"speakers and scenes: {some(sorted(both))}; the splits are kept as published"
        )
        known = False
    elif not known:
        notes.append("the pickle names no videos, so that samples cannot be grouped by them")
    if not any(part.split == "val" for part in parts):
        notes.append("there is no validation part; training carves one out of train")
    rows = [
        {"id": name, "label": label, "split": split, "group": video if known else ""}
        for name, label, split, video in zip(ids, labels, splits, videos, strict=True)
    ]
    return rows, notes
