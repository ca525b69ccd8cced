"""Variants that the study compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...balancing.method import Method
from ...methods import CATALOGUE, CGGM, Joint, ProgressRates, create
from .controls import FixedFactors, constant, shuffled
from .training import EPOCHS

JOINT = "joint"
RATES = (3e-4, 5e-4, 1e-3, 2e-3, 3e-3)  # joint training's search
OTHERS = (
    *("mrd", "mslr", "gblending", "greedy", "ogm_ge", "agm", "pmr", "umt", "ume", "qmf"),
    *("reconboost", "mmpareto", "dgl", "relearning"),
)
# Where a default is for longer trainings: as in the bundles, a diagnosis every quarter.
SETTINGS = {"relearning": {"every": EPOCHS // 4}}
PAPERS = {"rho": 1.2, "lam": 0.1}
LOG, PROBABILITY = "log_probability", "probability"


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        name: in the tables.
        group: "joint", "cggm", "control", "fixed", "other" or "alone".
        make: builds the method, of the factors that `control_of` had and of the seed.
        score: epsilon of eq. 6 for classification, accuracy when not given; a regression takes
            minus the absolute error.
        control_of: the variant whose factors are played, of the same seed.
        alone: the only modality to train on; None for all.
    """

    name: str
    group: str
    make: Callable[[Tensor, int], Method]
    score: str | None = None
    control_of: str | None = None
    alone: str | None = None


def compared() -> list[Variant]:
    """Joint training, CGGM and progress rates in their forms, and the controls of three."""
    return [
        Variant(JOINT, JOINT, lambda _, __: Joint()),
        _cggm("printed", rule="paper", apply="gradient"),
        _cggm("printed, no direction", rule="paper", apply="gradient", direction="none"),
        _cggm("printed, released direction", rule="paper", apply="gradient", direction="weight"),
        _cggm("direction alone", rule="none"),
        _cggm("bounded, on gradients", rule="bounded", apply="gradient", direction="none"),
        _cggm("bounded", rule="bounded", apply="step", direction="none"),
        _cggm("bounded, direction", rule="bounded", apply="step"),
        _rates("centered, not smoothed", smoothing=0.0),
        _rates("centered, accuracy"),
        _rates("centered", LOG),
        _rates("centered, probability", PROBABILITY),
        _rates("centered, .99", LOG, smoothing=0.99),
        _rates("centered, probability, .99", PROBABILITY, smoothing=0.99),
        *_controls("bounded"),
        # Constant factors of mean one are joint training.
        *_controls("centered")[1:],
        *_controls("centered, probability")[1:],
    ]


def fixed(modalities: Sequence[str]) -> list[Variant]:
    """One encoder at three times, or at a third of, the rate: what could any factors gain?"""
    variants = []
    for i, name in enumerate(modalities):
        for factor in (3.0, 1 / 3):
            table = torch.ones(1, len(modalities))
            table[0, i] = factor
            word = "x 3" if factor > 1 else "x 1/3"
            variants.append(
                Variant(f"{name} {word}", "fixed", lambda _, __, t=table: FixedFactors(t))
            )
    return variants


def others(task: str) -> list[Variant]:
    """Other methods that cover the task, with their own defaults."""
    covering = [n for n in OTHERS if task in CATALOGUE[n].published | CATALOGUE[n].extended]
    return [Variant(n, "other", lambda _, __, n=n: create(n, SETTINGS)) for n in covering]


def single(modalities: Sequence[str]) -> list[Variant]:
    """Networks of one modality: what an encoder learns when nothing hinders it."""
    return [
        Variant(f"{name} alone", "alone", lambda _, __: Joint(), alone=name) for name in modalities
    ]


def all_variants(modalities: Sequence[str], task: str) -> list[Variant]:
    """All of the above for these data, controls after what they control."""
    return [*compared(), *fixed(modalities), *others(task), *single(modalities)]


def _cggm(name: str, score: str | None = None, **settings: object) -> Variant:
    given: dict[str, Any] = {**PAPERS, **settings}
    return Variant(name, "cggm", lambda _, __: CGGM(**given), score)


def _rates(name: str, score: str | None = None, smoothing: float = 0.97) -> Variant:
    return Variant(
        name, "cggm", lambda _, __: ProgressRates(smoothing=smoothing, rule="shares"), score
    )


def _controls(of: str) -> list[Variant]:
    def same_mean(factors: Tensor, _: int) -> Method:
        return FixedFactors(constant(factors))

    def out_of_order(factors: Tensor, seed: int) -> Method:
        return FixedFactors(shuffled(factors, seed))

    return [
        Variant(f"{of}: constant of its mean", "control", same_mean, control_of=of),
        Variant(f"{of}: shuffled", "control", out_of_order, control_of=of),
    ]
