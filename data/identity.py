"""Digests that tell the samples a network was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .brats.case_folder import read_meta
from .brats.store import SliceStore
from .features.feature_set import FeatureSet

LENGTH = 12  # hexadecimal digits: among a hundred thousand names one in 30,000 sets has a collision


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for plain values.

    >>> digest(["s1", 0]) == digest(["s1", 0]) != digest(["s1", 1])
    True
    """
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:LENGTH]


def owner_digests(
    names: Iterable[str], owner_of: Callable[[str], str], earlier: Iterable[str] = ()
) -> list[str]:
    """What to remember of the training samples: a digest per owner, which tells no name.

    Args:
        names: of the samples.
        owner_of: the patient or group of a name; other samples of the same are not unseen either.
        earlier: digests of what the network was trained on before.
    """
    return sorted({*earlier, *(digest(owner_of(name)) for name in names)})


def identify_samples(feature_set: FeatureSet, split: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Digests of what a training on features learns from and chooses the model by."""
    labels = feature_set.labels
    return {
        "training samples": digest([(name, labels[name]) for name in split["train"]]),
        "validation samples": digest([(name, labels[name]) for name in split["val"]]),
        **{f"features of {name}": file.checksum for name, file in feature_set.files.items()},
    }


def identify_cases(store: SliceStore, split: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Digests of what a training on cases learns from and chooses the model by."""
    return {
        "training cases": digest([_contents(store, name) for name in split["train"]]),
        "validation cases": digest([_contents(store, name) for name in split["val"]]),
    }


def _contents(store: SliceStore, case: str) -> list[Any]:
    meta = read_meta(store.folder / case)
    files = {role: source["sha256"] for role, source in sorted(meta["sources"].items())}
    return [case, meta["convention"], files]
