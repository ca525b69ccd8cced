"""Any method of the catalogue, ready for a short training of the toy network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cggm.pipelines.methods import CATALOGUE, Method, Unimodal, create

from ..toy import ToyRun

# So that what a method does happens within an epoch or two.
SHORT: dict[str, dict[str, Any]] = {
    "gblending": {"trial_epochs": 1},
    "greedy": {"unlock": 1, "window": 2, "alpha": 0.0},
    "mslr": {"window": 2},
    "opm": {"first_epoch": 1, "p_exe": 1.0, "ogm": True},
    "pdmp": {"trial_epochs": 1},
    "pmr": {"share": 0.5},
    "reconboost": {"n1": 1, "n2": 0},
    "relearning": {"every": 1, "held_out": 0.25},
}


def epochs_of(name: str, modalities: Sequence[str]) -> int:
    """Two, or as many as ReconBoost needs to give all modalities their turn."""
    return max(2, len(modalities)) if name == "reconboost" else 2


def ready(
    name: str, folder: Path, modalities: Sequence[str], task: str = "classification", **more: Any
) -> Method:
    """The method, with teachers in `folder` where it has some."""
    settings = SHORT.get(name, {}) | more
    if CATALOGUE[name].teachers_by is not None:
        path = folder / f"{task}-{'-'.join(sorted(modalities))}.pt"
        if not path.exists():
            run = ToyRun(Unimodal(), modalities=modalities, task=task, lr=0.5, epochs=2).run()
            torch.save(run.network.state_dict(), path)
        settings = settings | {"teachers": str(path)}
    return create(name, {name: settings})
