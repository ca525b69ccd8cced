"""The features of an HDF5 file with a data set per utterance, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, problem_report, some
from ..extras import optional
from ..foreign import check_content
from .published_set import Modality, Progress, share, trimmed

if TYPE_CHECKING:
    import h5py

MAX_VALUES = 2**28  # of one utterance; an hour of frames would have fewer


@dataclass(frozen=True)
class Utterances:
    """Where the features of one modality lie.

    Attributes:
        path: HDF5 file with a data set (T, D) per utterance.
        fold: if given, features are normalized with the statistics of this fold, which lie beside
            in `<name>_mean_std.h5`.
        training: the utterances whose statistics are used where that file is missing.
    """

    path: Path
    fold: str | None = None
    training: Sequence[str] = ()


def read_utterances(
    sources: Mapping[str, Utterances], names: Sequence[str], progress: Progress
) -> tuple[dict[str, Modality], list[str]]:
    """Look at the features of all utterances.

    Args:
        sources: where they lie, by modality.
        names: the utterances that are needed.
        progress: goes through the utterances.

    Returns:
        Features by modality, and what a user should know.

    Raises:
        InputError: files cannot be read, or lack utterances; all broken ones are named.
    """
    modalities: dict[str, Modality] = {}
    notes: list[str] = []
    problems: list[str] = []
    for modality, source in sources.items():
        with _opened(source.path) as file:
            spans, found = _look(file, modality, names, progress)
            if found:
                problems += [f"{source.path}: {problem}" for problem in found]
                continue
            mean, std, remarks = _statistics(file, source)
        notes += [f"{modality}: {text}" for text in remarks]
        if source.fold is not None:
            spans.pad = {}
        modalities[modality] = Modality(
            spans.width,
            [spans.length(name) for name in names],
            _Reader(source, names, spans, mean, std),
        )
        notes += spans.notes(modality, len(names))
    if problems:
        raise InputError(problem_report("the features of IEMOCAP", problems))
    return modalities, notes


class _Spans:
    """Steps of each utterance, and which of them are padding at the end."""

    def __init__(self) -> None:
        self.width = 0
        self.steps: dict[str, int] = {}
        self.pad: dict[str, int] = {}
        self.empty = 0

    def length(self, name: str) -> int:
        return self.pad.get(name, self.steps[name])

    def notes(self, modality: str, total: int) -> list[str]:
        notes = []
        cut = sum(self.pad[name] < self.steps[name] for name in self.pad)
        if cut:
            notes.append(f"{modality}: zero steps at the end taken off {share(cut, total)} samples")
        if self.empty:
            notes.append(f"{modality}: {share(self.empty, total)} samples are all zero")
        return notes


class _Reader:
    """Gives the features of the utterances one after another, normalized and without padding."""

    def __init__(
        self,
        source: Utterances,
        names: Sequence[str],
        spans: _Spans,
        mean: np.ndarray | None,
        std: np.ndarray | None,
    ) -> None:
        self.source, self.names, self.spans, self.mean, self.std = source, names, spans, mean, std

    def __call__(self) -> Iterator[tuple[str, np.ndarray]]:
        with _opened(self.source.path) as file:
            for name in self.names:
                array = _array(file, name)[: self.spans.length(name)]
                if self.mean is not None and self.std is not None:
                    array = (array - self.mean) / self.std
                yield name, array.astype(np.float32)


def _look(
    file: h5py.File, modality: str, names: Sequence[str], progress: Progress
) -> tuple[_Spans, list[str]]:
    spans, missing, shapes, widths, bad = _Spans(), [], [], {}, []
    for name in progress(names, modality):
        if not isinstance(file.get(name), _h5py().Dataset):
            missing.append(name)
            continue
        try:
            array = _array(file, name)
        except (OSError, ValueError, TypeError) as error:
            shapes.append(f"{name} ({str(error).splitlines()[0]})")
            continue
        if array.ndim != 2 or 0 in array.shape:
            shapes.append(f"{name} {array.shape}")
            continue
        widths.setdefault(array.shape[1], name)
        if not (np.abs(array) <= np.finfo(np.float32).max).all():
            bad.append(name)
        spans.steps[name] = len(array)
        spans.pad[name] = trimmed(array)[1]
        spans.empty += not array.any()
    spans.width = next(iter(widths), 0)
    problems = [
        f"{len(found):,} utterances {what}: {some(found)}; {remedy}"
        for found, what, remedy in (
            (missing, "of target are not in it", "copy or extract it again"),
            (shapes, "do not have the shape (steps, width)", "extract them again"),
            (bad, "hold NaN, infinity or numbers beyond 32 bits", "extract them again"),
        )
        if found
    ]
    if len(widths) > 1:
        found = ", ".join(f"{width} ({name})" for width, name in widths.items())
        problems.append(f"its features have different widths: {found}; expected one width")
    return spans, problems


def _array(file: h5py.File, name: str) -> np.ndarray:
    """Features of one utterance, float64; pooled ones are a single step."""
    stored: Any = file[name]
    if stored.size > MAX_VALUES:
        raise ValueError(f"{stored.size:,} values")
    array = np.asarray(stored, dtype=np.float64)
    return array[None] if array.ndim == 1 and array.size else array


def _statistics(
    file: h5py.File, source: Utterances
) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Mean and standard deviation of each feature, where the features are to be normalized."""
    if source.fold is None:
        return None, None, []
    path = source.path.with_name(f"{source.path.stem}_mean_std.h5")
    arrays = (_array(file, name) for name in source.training)
    if not path.is_file():
        return *_moments(arrays), [
            f"there is no {path.name}: normalized with the mean and deviation of the training part"
        ]
    with _opened(path) as stored:
        group: Any = stored.get(source.fold)
        if not isinstance(group, _h5py().Group) or not {"mean", "std"} <= set(group):
            return *_moments(arrays), [
                f"{path.name} has no mean and std of fold {source.fold}: normalized with those of "
                "the training part"
            ]
        mean, std = (_moment(group[key]) for key in ("mean", "std"))
    width = next(arrays).shape[1]
    if not (mean.shape == std.shape == (width,)) or not np.isfinite([mean, std]).all():
        raise InputError(
            f"{path}, fold {source.fold}: mean has shape {mean.shape}, std {std.shape}; expected "
            f"({width},) and finite numbers: copy it again, or remove it to have them computed"
        )
    return mean, _no_zero(std), [f"normalized with fold {source.fold} of {path.name}"]


def _moment(stored: Any) -> np.ndarray:
    try:
        return np.asarray(stored, dtype=np.float64).ravel()
    except (OSError, ValueError, TypeError):  # texts or records; a group
        return np.zeros(0)


def _moments(arrays: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all steps, shape (D,)."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for array in arrays:
        scaler.partial_fit(array)
    return np.asarray(scaler.mean_), np.asarray(scaler.scale_)


def _no_zero(std: np.ndarray) -> np.ndarray:
    return np.where(std > 0, std, 1.0)


def _opened(path: Path) -> h5py.File:
    check_content(path, "features in HDF5")
    try:
        return _h5py().File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({str(error).splitlines()[0]}); it is damaged, cut "
            "short or of another kind: copy it again"
        ) from error


def _h5py() -> Any:
    return optional("h5py", "features", "the published features of IEMOCAP")
