"""A folder of IEMOCAP features, as MMIN and the authors of CGGM read it.

A/comparE.h5            acoustic features: a data set (T, 130) per utterance
A/comparE_mean_std.h5   their mean and standard deviation, a group per fold
V/denseface.h5          facial features (T, 342), L/bert_large.h5: of words (T, 1024)
target/<fold>/{trn,val,tst}_{label,int2name}.npy    one-hot labels (N, 4), names (N, 1)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, some
from ..foreign import check_content
from .published_set import Progress, PublishedSet, fitting_groups, silently
from .utterances import Utterances, read_utterances

# Columns of the labels. The repository of MMIN does not name them; see docs/datasets.md. With all
# 5,531 utterances the columns are told apart by how many each class has in the corpus.
CLASSES = ("angry", "happy", "neutral", "sad")
COUNTS = {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
SOURCE = "IEMOCAP (Busso et al. 2008), features as distributed for MMIN"
TERMS = "IEMOCAP is given out by USC SAIL under a license for research; see the owner's page."

_PARTS = {"train": "trn", "val": "val", "test": "tst"}


def read_iemocap(
    folder: str | Path,
    *,
    fold: str | int = 1,
    audio: str = "comparE",
    vision: str = "denseface",
    text: str = "bert_large",
    classes: Sequence[str] = CLASSES,
    progress: Progress = silently,
) -> PublishedSet:
    """Read one fold of the features of IEMOCAP.

    Acoustic features are normalized with the published statistics of the fold, or with those of
    its training part where there are none. Zero steps at the end of the others are padding.

    Args:
        folder: with A, V, L and target in it.
        fold: name of a folder in target.
        audio: name of the file in A, without its ending.
        vision: likewise in V.
        text: likewise in L.
        classes: names of the columns of the labels.
        progress: goes through the utterances.

    Raises:
        InputError: something is missing, broken or does not fit together.
    """
    root = Path(folder)
    targets = _targets_of(root, str(fold))
    rows: list[dict[str, Any]] = []
    for split, short in _PARTS.items():
        rows += _rows(targets, split, short, list(classes))
    _check_unique(rows, targets)
    notes = check_classes(rows, list(classes), targets)
    notes += _set_groups(rows)
    names = [row["id"] for row in rows]
    training = [row["id"] for row in rows if row["split"] == "train"]
    sources = {
        "text": Utterances(root / "L" / f"{text}.h5"),
        "audio": Utterances(root / "A" / f"{audio}.h5", fold=str(fold), training=training),
        "vision": Utterances(root / "V" / f"{vision}.h5"),
    }
    modalities, remarks = read_utterances(sources, names, progress)
    labels = [targets / f"{short}_label.npy" for short in _PARTS.values()]
    return PublishedSet(
        name=f"IEMOCAP, fold {fold}",
        task="classification",
        classes=list(classes),
        rows=rows,
        modalities=modalities,
        notes=[*notes, *remarks],
        files=[*(source.path for source in sources.values()), *labels],
        settings={"fold": str(fold), "classes": list(classes)},
        source=f"{SOURCE}, fold {fold}",
        terms=TERMS,
    )


def check_classes(
    rows: Sequence[Mapping[str, Any]], classes: Sequence[str], where: object
) -> list[str]:
    """Compare the names of the columns with the numbers of utterances that the corpus has.

    Args:
        rows: samples, with the name of their class as "label".
        classes: names in the order of the columns.
        where: the folder, for error messages.

    Returns:
        What a user should know.

    Raises:
        InputError: a class has no utterance, or the numbers show another order of the names.
    """
    counts = Counter(row["label"] for row in rows)
    missing = [name for name in classes if not counts[name]]
    if missing:
        raise InputError(f"{where}: no utterance is {' or '.join(missing)}; expected all classes")
    class_of = {count: name for name, count in COUNTS.items()}
    if sorted(counts.values()) != sorted(class_of):
        return [
            f"the columns of the labels are taken as {', '.join(classes)}; the numbers of "
            "utterances are not those of the whole corpus, so this cannot be checked"
        ]
    true = [class_of[counts[name]] for name in classes]
    if set(classes) == set(true) and list(classes) != true:
        raise InputError(
            f"{where}: the columns of the labels are named {', '.join(classes)}, but by their "
            f"numbers of utterances they are {', '.join(true)}; use --classes {' '.join(true)}"
        )
    return [
        f"the columns of the labels have as many utterances as {', '.join(true)} have in the "
        f"corpus; they are called {', '.join(classes)}"
    ]


def _targets_of(root: Path, fold: str) -> Path:
    missing = [name for name in ("A", "V", "L", "target") if not (root / name).is_dir()]
    if missing:
        inner = next((path.parent for path in root.glob("*/target") if path.is_dir()), None)
        remedy = f": did you mean {inner}?" if inner else ""
        raise InputError(
            f"{root} has no folder {', '.join(missing)}; expected A, V, L and target, as the "
            f"features of IEMOCAP are distributed for MMIN{remedy}"
        )
    there = sorted((path.name for path in (root / "target").iterdir() if path.is_dir()), key=_order)
    if fold not in there:
        raise InputError(
            f"{root / 'target'} has no fold {fold!r}; there are {some(there, 20) or 'none'}: "
            "choose one with --fold"
        )
    return root / "target" / fold


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0, name)


def _rows(targets: Path, split: str, short: str, classes: list[str]) -> list[dict[str, Any]]:
    path = targets / f"{short}_label.npy"
    labels = _numbers(_load(path), path, classes)
    path = targets / f"{short}_int2name.npy"
    stored = _load(path)
    if stored.dtype.kind not in "SU" or stored.ndim == 0 or stored.size != len(stored):
        raise InputError(
            f"{path} has shape {stored.shape} and type {stored.dtype}; expected names of shape "
            "(N, 1)"
        )
    names = [
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        for name in stored.ravel()
    ]
    if len(names) != len(labels):
        raise InputError(
            f"{path} has {len(names):,} names, {short}_label.npy {len(labels):,} labels; expected "
            "as many: copy the folder again"
        )
    if not names:
        raise InputError(f"{path} is empty; expected at least one utterance in each part")
    return [
        {"id": name, "label": classes[label], "split": split}
        for name, label in zip(names, labels, strict=True)
    ]


def _load(path: Path) -> np.ndarray:
    check_content(path, "an array of NumPy (.npy)")
    try:
        # Mapped: a header that promises more than the file holds is refused, not given memory.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        unsafe = "Python objects" in str(error) or "pickle" in str(error)
        what = "is no plain array, or holds Python objects" if unsafe else "is damaged"
        raise InputError(
            f"{path} {what} ({str(error).splitlines()[0]}); expected numbers or texts as written "
            "by numpy.save"
        ) from error


def _numbers(array: np.ndarray, path: Path, classes: list[str]) -> list[int]:
    """Class numbers out of one-hot rows, or as they are."""
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        if array.shape[1] != len(classes):
            raise InputError(
                f"{path} has {array.shape[1]} columns; expected {len(classes)}, one per class "
                f"({', '.join(classes)}): name them with --classes"
            )
        bad = np.flatnonzero(((array != 0) & (array != 1)).any(1) | (array.sum(1) != 1))
        if bad.size:
            raise InputError(
                f"{path}: {bad.size:,} rows do not have a single 1: {some(bad.tolist())}; expected "
                "one-hot labels"
            )
        return array.argmax(1).tolist()
    numbers = array.reshape(-1)
    if array.dtype.kind not in "iu" or not np.isin(numbers, range(len(classes))).all():
        raise InputError(
            f"{path} has shape {array.shape} and type {array.dtype}; expected one-hot labels "
            f"(N, {len(classes)}), or class numbers below {len(classes)}"
        )
    return numbers.tolist()


def _check_unique(rows: list[dict[str, Any]], targets: Path) -> None:
    twice = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise InputError(
            f"{targets}: {len(twice):,} utterances come more than once in trn, val and tst: "
            f"{some(twice)}; expected each in one part: copy the folder again"
        )


def _set_groups(rows: list[dict[str, Any]]) -> list[str]:
    """Ses01F_impro01_F000: session 1, the first letter of the last field is the speaker."""
    splits = [row["split"] for row in rows]
    sessions = [row["id"][:5] for row in rows]
    speakers = [f"{row['id'][:5]}-{row['id'].split('_')[-1][:1]}" for row in rows]
    grouping = fitting_groups({"session": sessions, "speaker": speakers}, splits)
    for index, row in enumerate(rows):
        row["group"] = grouping[1][index] if grouping else ""
    if grouping is None:
        return ["warning: speakers lie in two published parts; the splits are kept as published"]
    shared = grouping[0] == "speaker"
    return (
        ["the published parts share sessions but no speakers; samples are grouped by speaker"]
        if shared
        else []
    )
