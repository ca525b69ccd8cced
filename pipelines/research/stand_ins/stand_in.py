"""A stand-in data set before features are extracted, and its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....data.errors import InputError
from .packages import Package

# The parts of five folds: 60 % for training, 20 % each for validation and test.
_PARTS = ("test", "val", "train", "train", "train")


@dataclass
class StandIn:
    """A data set made of packages.

    Args:
        name: its own name, never that of a data set it stands in for.
        task: "classification" or "regression".
        packages: what it is made of.
        description: what a sample and its label are.
        rows: one per sample: id, label, group, and a column per modality that is a text or the
            path of a file below the folder of the packages.
        kinds: "image", "audio" or "text" of each such modality.
        vectors: the sequences (T, D) of modalities that are numbers already, by id.
        optional: modalities that are made only when they are asked for.
        left_out: how many things of the packages are no sample, by reason.
    """

    name: str
    task: str
    packages: Sequence[Package]
    description: str
    rows: list[dict[str, str]]
    kinds: dict[str, str] = field(default_factory=dict)
    vectors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    optional: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        return [*self.kinds, *self.vectors]

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, in the order of their numbers."""
        if self.task == "regression":
            return None
        return sorted({row["label"] for row in self.rows})

    @property
    def source(self) -> str:
        return "packages " + ", ".join(f"{package} ({package.client})" for package in self.packages)

    @property
    def terms(self) -> str:
        return "; ".join(f"{package.name}: {package.terms}" for package in self.packages)


def split(stand_in: StandIn, seed: int = 0) -> None:
    """Give every row its part: about 60, 20 and 20 % with like labels, groups never divided."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = [row["group"] for row in stand_in.rows]
    if stand_in.task == "regression":
        values = np.array([float(row["label"]) for row in stand_in.rows])
        labels = np.digitize(values, np.quantile(values, [0.2, 0.4, 0.6, 0.8])).tolist()
    else:
        labels = [row["label"] for row in stand_in.rows]
    folds = StratifiedGroupKFold(len(_PARTS), shuffle=True, random_state=seed)
    for part, (_, chosen) in zip(_PARTS, folds.split(labels, labels, groups), strict=True):
        for row in chosen:
            stand_in.rows[row]["split"] = part


def groups(*keys: Sequence[Hashable]) -> list[str]:
    """Name the group of every sample: samples that agree in any one key are of one group.

    >>> groups(["a", "b", "b", "c"], [1, 2, 3, 3])
    ['g0', 'g1', 'g1', 'g1']
    """
    parent = list(range(len(keys[0])))

    def root(sample: int) -> int:
        while parent[sample] != sample:
            parent[sample] = parent[parent[sample]]
            sample = parent[sample]
        return sample

    for key in keys:
        first: dict[Hashable, int] = {}
        for sample, value in enumerate(key):
            a, b = sorted((root(first.setdefault(value, sample)), root(sample)))
            parent[b] = a
    number = {name: i for i, name in enumerate(dict.fromkeys(map(root, range(len(parent)))))}
    return [f"g{number[root(sample)]}" for sample in range(len(parent))]


def large_classes(rows: list[dict[str, str]], least: int) -> list[dict[str, str]]:
    """Keep the rows of classes with at least so many."""
    counts = Counter(row["label"] for row in rows)
    return [row for row in rows if counts[row["label"]] >= least]


def need(condition: object, package: Package, what: str) -> None:
    """Refuse a package that does not hold what it is known to hold.

    Raises:
        InputError: the condition does not hold.
    """
    if not condition:
        raise InputError(f"the package {package} holds no {what}; delete the cache and start again")
