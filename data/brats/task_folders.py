"""Folders with a `dataset.json`: the Medical Segmentation Decathlon and nnU-Net.

Images lie in `imagesTr` and `imagesTs`, their labels in `labelsTr` and `labelsTs`. In the Decathlon
a file holds all sequences as volumes; for nnU-Net each is a file that ends in _0000, _0001 and so
on. `dataset.json` says which number is which sequence, and what the values of the labels mean.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json
from .conventions import CLASSES, CONVENTIONS
from .layouts import SEQUENCE_NAMES, SEQUENCES, Found, Source

TRAINING = {"imagesTr", "labelsTr"}
IMAGES = {"imagesTr", "imagesTs"}
LABELS = {"labelsTr", "labelsTs"}

_CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})")

# What a label may be called, in lower case letters: (how much it takes precedence, its meaning).
_LABEL_NAMES = {
    **dict.fromkeys(["wholetumor", "wt"], (0, "ED")),
    **dict.fromkeys(["tumorcore", "tc"], (1, "NCR")),
    **dict.fromkeys(["edema", "ed", "peritumoraledema", "snfh"], (2, "ED")),
    **dict.fromkeys(["necrosis", "necroticcore", "necrotictumorcore", "ncr", "ncrnet"], (2, "NCR")),
    **dict.fromkeys(["nonenhancingtumor", "nonenhancingtumorcore", "netc", "net"], (2, "NCR")),
    **dict.fromkeys(["nonenh", "cystic", "cysticcomponent", "cc", "nc"], (2, "NCR")),
    **dict.fromkeys(["enhancingtumor", "et"], (2, "ET")),
    **dict.fromkeys(["resectioncavity", "rc"], (2, "RC")),
}


def has_channels(files: Iterable[Path]) -> bool:
    """Say whether the names are those of nnU-Net's images: there is an _0000."""
    return any(_stem(path).endswith("_0000") for path in files)


def in_task_folder(path: Path) -> bool:
    """Say whether a file lies where a task has its images or labels."""
    return path.parent.name in IMAGES | LABELS


def group_nnunet(files: Sequence[Path]) -> Found:
    """Sort the files of a folder in nnU-Net's form into cases.

    Raises:
        InputError: no `dataset.json` says what the channels are, or it makes no sense.
    """
    found: Found = defaultdict(lambda: defaultdict(list))
    orders: dict[Path, list[str]] = {}
    for path in files:
        match = _CHANNEL.fullmatch(_stem(path))
        if path.parent.name in LABELS:
            found[_stem(path)]["label"].append(Source(path))
        elif match:
            if path.parent not in orders:
                orders[path.parent] = _nnunet_order(path)
            order, channel = orders[path.parent], int(match["channel"])
            if channel >= len(order):
                raise InputError(
                    f"{path} is channel {channel}, but dataset.json names {order} only: add it to "
                    '"channel_names", or take the file away'
                )
            found[match["id"]][order[channel]].append(Source(path))
    return {name: dict(sources) for name, sources in found.items()}


def group_msd(files: Iterable[Path]) -> Found:
    """Sort the 4D files of a task of the Decathlon, and their labels, into cases.

    Raises:
        InputError: `dataset.json` makes no sense.
    """
    found: Found = defaultdict(lambda: defaultdict(list))
    orders: dict[Path, Sequence[str]] = {}
    for path in files:
        if path.parent.name in LABELS:
            found[_stem(path)]["label"].append(Source(path))
        if path.parent.name in IMAGES:
            task = path.parent.parent
            if task not in orders:
                orders[task] = _order(task / "dataset.json") or SEQUENCES
            for channel, key in enumerate(orders[task]):
                found[_stem(path)][key].append(Source(path, channel, len(orders[task])))
    return {name: dict(sources) for name, sources in found.items()}


def described_convention(found: Found) -> str | None:
    """Name the label convention that the `dataset.json` of some cases describes, if one does.

    Raises:
        InputError: the labels have known names, but their values are those of no convention; or
            several tasks have labels of several conventions.
    """
    sources = [source for kinds in found.values() for files in kinds.values() for source in files]
    folders = {source.path.parent for source in sources}
    descriptions = {place: _convention_in(place) for folder in folders for place in _places(folder)}
    if len(set(descriptions.values())) > 1:
        listed = "; ".join(f"{path}: {name or 'unknown'}" for path, name in descriptions.items())
        raise InputError(
            f"the labels of several tasks mean different things ({listed}): give the folder of one"
        )
    return next(iter(descriptions.values()), None)


def _convention_in(description: Path) -> str | None:
    meanings = _label_meanings(_read(description).get("labels"))
    if not meanings:
        return None
    classes = {value: CLASSES.index(meaning) for value, meaning in meanings.items()}
    for name, convention in CONVENTIONS.items():
        if convention.classes == classes:
            return name
    listed = ", ".join(f"{value} {meaning}" for value, meaning in sorted(meanings.items()))
    known = "; ".join(str(convention) for convention in CONVENTIONS.values())
    raise InputError(
        f"{description} says that the labels are {listed}, which is none of the known conventions: "
        f"{known}; convert the labels to one of them"
    )


def _label_meanings(labels: Any) -> dict[int, str]:
    """Read what each value stands for, from classes or from regions; {} if names do not tell."""
    if not isinstance(labels, dict):
        return {}
    by_name = [(str(name), values) for name, values in labels.items()]
    if all(name.isdecimal() for name, _ in by_name):  # {"1": "edema"} of the Decathlon
        by_name = [(str(name), int(value)) for value, name in by_name]
    best: dict[int, tuple[int, str]] = {}
    for name, values in by_name:
        letters = re.sub("[^a-z]", "", name.lower()).replace("tumour", "tumor")
        if letters in ("background", "ignore"):
            continue
        if letters not in _LABEL_NAMES:
            return {}
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, int):
                return {}
            best[value] = max(best.get(value, (-1, "")), _LABEL_NAMES[letters])
    return {value: meaning for value, (_, meaning) in best.items()}


def _nnunet_order(path: Path) -> list[str]:
    for description in _places(path.parent):
        order = _order(description)
        if order:
            return order
    raise InputError(
        f"{path} is one of several files in nnU-Net's form, one for each channel, and no "
        "dataset.json says which channel is which sequence: add one beside imagesTr or to the "
        'folder of the files, such as {"channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": '
        '"FLAIR"}} with the true order'
    )


def _places(folder: Path) -> list[Path]:
    """List the descriptions that belong to a folder: in it, or beside it."""
    nearby = [folder.parent] if folder.name in IMAGES | LABELS else [folder]
    return [place / "dataset.json" for place in nearby if (place / "dataset.json").exists()]


def _order(description: Path) -> list[str] | None:
    """Read which number is which sequence; None if the description does not say."""
    if not description.exists():
        return None
    content = _read(description)
    names = content.get("modality") or content.get("channel_names")
    if names is None:
        return None
    try:
        listed = [str(names[str(channel)]) for channel in range(len(names))]
    except (KeyError, TypeError) as error:
        raise InputError(_unreadable(description, error)) from error
    order = [SEQUENCE_NAMES.get(re.sub("[^a-z0-9]", "", name.lower()), name) for name in listed]
    if set(order) - set(SEQUENCES) or len(set(order)) != len(order):
        raise InputError(
            f"{description} names the volumes {listed}; expected each of FLAIR, T1w, t1gd, T2w at "
            "most once and nothing else: is this a data set of gliomas?"
        )
    return order


def _read(description: Path) -> dict[str, Any]:
    try:
        content = read_json(description)
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(_unreadable(description, error)) from error
    return content


def _unreadable(description: Path, error: Exception) -> str:
    return (
        f"{description} cannot be read ({type(error).__name__}: {error}); expected JSON with "
        '"modality": {"0": "FLAIR", …}: repair it, or remove it to use the published order'
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
