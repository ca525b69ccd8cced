"""A folder of features: several modalities, their samples, and whether all of it fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, some
from .earlier import refuse_earlier
from .file import SUFFIX, FeatureFile
from .header import HEADER, check_modality, read_header, write_feature_set_header
from .table import SAMPLES, Label, read_samples, write_samples

# What makes features of one width mean the same.
SOURCE_KEYS = ("model", "revision", "pooling")

__all__ = [
    "FeatureSet",
    "check_feature_set",
    "open_feature_set",
    "write_feature_set_header",
    "write_samples",
]


@dataclass(frozen=True)
class FeatureSet:
    """Features of several modalities for one task, read from a folder by :func:`open_feature_set`.

    Attributes:
        folder: where it lies.
        name: of the data, for logs and reports.
        task: "classification" or "regression".
        classes: names in the order of the class numbers; None for regression.
        generated: the features are made up.
        modalities: names, in a stable order.
        files: the features of each modality.
        widths: the length of a feature vector of each modality.
        ids: of the samples, in the order of samples.csv.
        labels: class number or value of each sample; None where it is unknown.
        splits: "train", "val" or "test" of each sample; empty where nothing is published.
        groups: of each sample; samples of a group never fall into two parts. Its own id where the
            table has no group.
    """

    folder: Path
    name: str
    task: str
    classes: list[str] | None
    generated: bool
    modalities: list[str]
    files: dict[str, FeatureFile]
    widths: dict[str, int]
    ids: list[str]
    labels: dict[str, Label]
    splits: dict[str, str]
    groups: dict[str, str]

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a sample: classes, or 1 for regression."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """The model that each modality's features came from, where the file tells it."""
        return {
            name: {key: file.about[key] for key in SOURCE_KEYS if key in file.about}
            for name, file in self.files.items()
            if "model" in file.about
        }

    def absent_shares(self, names: Sequence[str]) -> dict[str, float]:
        """Share of some samples that lack each modality: whose sequence of vectors is empty."""
        lengths = {
            name: dict(zip(file.ids, file.lengths.tolist(), strict=True))
            for name, file in self.files.items()
        }
        return {
            modality: round(sum(of[name] == 0 for name in names) / len(names), 4)
            for modality, of in lengths.items()
        }

    def describe(self) -> str:
        """Say in one line what is there: ``1,234 samples, 12 classes, image 1x384, …``."""
        values = [value for value in self.labels.values() if value is not None]
        if self.classes is not None:
            target = f"{len(self.classes)} classes"
        else:
            target = f"labels {min(values):g} to {max(values):g}" if values else "no labels"
        unlabeled = len(self.ids) - len(values)
        parts = [
            f"{len(self.ids):,} samples",
            *([f"{unlabeled:,} without label"] if unlabeled > 0 else []),
            target,
            *(f"{name} {_steps(self.files[name])}" for name in self.modalities),
        ]
        return ", ".join(parts)


def open_feature_set(
    folder: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    task: str | None = None,
    labels: str = "required",
) -> FeatureSet:
    """Open a folder of dataset.json, samples.csv and a :class:`.FeatureFile` per modality.

    Args:
        folder: of the feature set.
        modalities: the ones to use, in this order; all of the folder when not given.
        task: "classification" or "regression"; None takes either.
        labels: "required", or "optional" for inference on samples without label.

    Raises:
        InputError: something in the folder is missing, broken or does not fit together.
    """
    folder = Path(folder)
    header = read_header(folder, task=task)
    table = read_samples(folder, header, labels=labels)
    names = _chosen(folder, header, modalities)
    files = {name: FeatureFile(folder / f"{name}{SUFFIX}") for name in names}
    for name in names:
        _check_ids(files[name], table.ids)
    return FeatureSet(
        folder=folder,
        name=header["name"],
        task=header["task"],
        classes=header.get("classes"),
        generated=bool(header["generated"]),
        modalities=names,
        files=files,
        widths={name: file.width for name, file in files.items()},
        ids=table.ids,
        labels=table.labels,
        splits=table.splits,
        groups=table.groups,
    )


def check_feature_set(folder: str | Path) -> list[str]:
    """Read all of a feature set and list what is wrong with it, one sentence each.

    Beyond what :func:`open_feature_set` looks at, this compares the checksums and looks for values
    that are not finite. It goes on after a problem where it can.
    """
    folder = Path(folder)
    problems: list[str] = []
    ids: list[str] = []
    try:
        header = read_header(folder)
        names = _chosen(folder, header, None)
    except InputError as error:
        return [str(error)]
    try:
        ids = read_samples(folder, header, labels="optional").ids
        read_samples(folder, header)
    except InputError as error:
        problems.append(str(error))
    for name in names:
        problems += _problems_of(folder / f"{name}{SUFFIX}", ids)
    return problems


def _problems_of(path: Path, ids: list[str]) -> Iterator[str]:
    try:
        file = FeatureFile(path)
    except InputError as error:
        yield str(error)
        return
    if ids:
        try:
            _check_ids(file, ids)
        except InputError as error:
            yield str(error)
    try:
        file.verify()
    except InputError as error:
        yield str(error)
        return
    bad = [name for name in file.ids if not _is_finite(file, name)]
    if bad:
        yield f"{path}: {len(bad):,} samples hold NaN or infinite values: {some(bad)}"


def _is_finite(file: FeatureFile, name: str) -> bool:
    try:
        file.read(name)
    except InputError:
        return False
    return True


def _chosen(folder: Path, header: Mapping[str, Any], modalities: Sequence[str] | None) -> list[str]:
    """The modalities to use: those asked for, else those of the header, else all files."""
    refuse_earlier(folder)
    there = sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if path.name[0] != ".")
    wanted = modalities if modalities is not None else header.get("modalities", there)
    twice = [name for name, count in Counter(wanted).items() if count > 1]
    missing = [name for name in wanted if name not in there]
    if not wanted or missing or twice:
        found = ", ".join(f"{name}{SUFFIX}" for name in there) or "none"
        asked = "asked for" if modalities is not None else f"named in {HEADER}"
        problem = (
            f"no features of {some(missing)}, {asked}"
            if missing
            else f"the modalities {some(twice)} are {asked} twice"
            if twice
            else "no modality to use"
        )
        remedy = "; pass --modalities with those to use" if there else ""
        raise InputError(f"{folder}: {problem}; the feature files there are: {found}{remedy}")
    for name in wanted:
        check_modality(name, folder)
    return list(wanted)


def _check_ids(file: FeatureFile, ids: Sequence[str]) -> None:
    lacking = [name for name in ids if name not in file]
    listed = set(ids)
    unknown = [name for name in file.ids if name not in listed]
    if lacking or unknown:
        found = [
            f"{len(names):,} {what}: {some(names)}"
            for names, what in (
                (lacking, f"samples of {SAMPLES} have no features"),
                (unknown, f"have features but are not in {SAMPLES}"),
            )
            if names
        ]
        raise InputError(
            f"{file.path} does not match {SAMPLES}: {'; '.join(found)}; extract the features of "
            "exactly the samples that are listed"
        )


def _steps(file: FeatureFile) -> str:
    low, high = int(file.lengths.min()), int(file.lengths.max())
    return f"{low if low == high else f'{low}-{high}'}x{file.width}"
