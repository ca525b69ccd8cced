"""Budgets: a look at everything, an hour, or the paper's recipes on real data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ....data.errors import InputError
from ..experiments.bundles import open_bundle

BUNDLES = ("food101", "brats", "mosi", "iemocap")  # in the order of the paper's tables
# The rows of Tables 2, 3 and 4.
METHODS = {
    "food101": [
        *("unimodal", "joint", "gblending", "greedy", "ogm_ge", "agm", "pmr"),
        *("umt", "ume", "qmf", "reconboost", "cggm"),
    ],
    "brats": ["unimodal", "joint", "mrd", "mslr", "umt", "ume", "qmf", "reconboost", "cggm"],
    "mosi": ["unimodal", "joint", "mrd", "mslr", "umt", "ume", "cggm"],
    "iemocap": [
        *("unimodal", "joint", "mrd", "mslr", "agm", "umt", "ume", "qmf", "reconboost", "cggm"),
    ],
}


@dataclass(frozen=True)
class Budget:
    """What is trained, and how long.

    Attributes:
        settings: of each bundle that takes part.
        methods: of each bundle.
        seeds: of the comparisons.
        rhos: values in Figure 5 (a).
        lams: values in Figure 5 (b).
        gradients: steps between two records for Figure 4, by bundle.
        steps: that the benchmark of Table 8 measures.
    """

    settings: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, list[str]]
    seeds: int
    rhos: tuple[float, ...]
    lams: tuple[float, ...]
    gradients: Mapping[str, int]
    steps: int = 20


_RHOS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
_LAMS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25)
_FEATURES = {"width": 20, "layers": 2, "fusion_layers": 1}
_SMALL = {
    "food101": {**_FEATURES, "epochs": 12},  # eight steps each
    "brats": {
        "channels": 16,
        "modality_dropout": 0.0,  # the paper has none
        "size": 64,
        "slices_per_case": 4,
        "batch_size": 4,
        "epochs": 8,
        "val_interval": 4,
    },
    "mosi": {**_FEATURES, "epochs": 6},
    # Twice the batch of the bundle: it has most of the runs.
    "iemocap": {**_FEATURES, "epochs": 6, "batch_size": 64},
}
_TINY_FEATURES = {"width": 8, "heads": 2, "layers": 1, "fusion_layers": 1, "epochs": 1}
_TINY = {
    "food101": _TINY_FEATURES,
    "brats": {
        "channels": 8,
        "modality_dropout": 0.0,
        "size": 32,
        "slices_per_case": 2,
        "epochs": 1,
        "val_interval": 1,
    },
    "mosi": _TINY_FEATURES,
    "iemocap": _TINY_FEATURES,
}


def budget(name: str, folders: Mapping[str, str]) -> Budget:
    """The budget of this name.

    Args:
        name: "tiny", "small" or "paper".
        folders: data sets by bundle; empty for the embedded data.

    Raises:
        InputError: "paper" has no data, or there is no such budget.
    """
    makers = {"tiny": _tiny, "small": _small, "paper": _paper}
    if name not in makers:
        raise InputError(f"there is no budget {name!r}; choose one of {', '.join(makers)}")
    made = makers[name](folders)
    settings = {
        bundle: {**own, **({"dataset_dir": folders[bundle]} if bundle in folders else {})}
        for bundle, own in made.settings.items()
    }
    return replace(made, settings=settings)


def _tiny(_: Mapping[str, str]) -> Budget:
    """All kinds of tables and figures as fast as can be; the figures mean nothing."""
    methods = {bundle: ["unimodal", "joint", "cggm"] for bundle in BUNDLES}
    return Budget(_TINY, methods, 1, (1.0, 1.3), (0.1, 0.2), dict.fromkeys(BUNDLES, 1), 3)


def _small(_: Mapping[str, str]) -> Budget:
    """An hour on two cores, on the embedded data."""
    return Budget(_SMALL, METHODS, 3, _RHOS, _LAMS, dict.fromkeys(BUNDLES, 1))


def _paper(folders: Mapping[str, str]) -> Budget:
    """Each bundle's paper.json, on the data sets that are given."""
    if not folders:
        raise InputError(
            "the paper's recipes are for the paper's data: pass one or more of "
            f"{', '.join(f'--{bundle} FOLDER' for bundle in BUNDLES)}, or --budget small"
        )
    settings = {bundle: open_bundle(bundle).recipe for bundle in BUNDLES if bundle in folders}
    if "brats" in settings:
        # Whole volumes after every epoch would take many times as long as training itself.
        settings["brats"]["val_interval"] = 10
    # Some 300 records of each training.
    gradients = {"food101": 100, "brats": 5, "mosi": 2, "iemocap": 10}
    return Budget(settings, METHODS, 3, _RHOS, _LAMS, gradients)
