"""Findings from the trainings: which modalities tell something, imbalance, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ....data.errors import InputError
from ..report.statistics import FEWEST_PAIRS, Difference, corrected_difference
from ..study.training import points
from .plan import ALONE, JOINT, METHOD, RATE, Row, Variant, chosen_rates
from .samples import Samples

MARGIN = 5.0  # points: a gain that one wants to be able to see
FALLS_SHORT = 0.1  # of what an encoder alone has above guessing


@dataclass(frozen=True)
class Modality:
    """What one modality tells, alone and in joint training; points as of the data's figure.

    Attributes:
        name: of the modality.
        alone: test figure of a network of this modality only.
        above_guessing: how far that is above guessing.
        within: test figure of the classifier on its encoder in joint training.
        shortfall: of the encoder in joint training, against itself alone.
    """

    name: str
    alone: float
    above_guessing: Difference
    within: float
    shortfall: Difference

    @property
    def informs(self) -> bool:
        """Whether it is shown to tell anything."""
        return self.above_guessing.low > 0

    @property
    def falls_short(self) -> bool:
        """Whether its encoder is shown to be far below itself alone in joint training."""
        large = self.shortfall.mean > FALLS_SHORT * self.above_guessing.mean
        return self.informs and large and self.shortfall.low > 0


@dataclass(frozen=True)
class Alternative:
    """Something that could be done instead of joint training, and what it gains.

    Attributes:
        variant: what it is.
        rate: its learning rate.
        test: mean test figure.
        gain: over joint training; its interval holds together with those of all alternatives.
    """

    variant: Variant
    rate: float
    test: float
    gain: Difference

    @property
    def helps(self) -> bool:
        return self.gain.low > 0

    @property
    def harms(self) -> bool:
        return self.gain.high < 0


@dataclass(frozen=True)
class Findings:
    """All that is found.

    Attributes:
        joint: mean test figure of joint training.
        rate: its learning rate.
        guessing: the figure without any data.
        divisions: how many were trained.
        modalities: what each tells.
        best: name of the modality that is best alone, on validation.
        over_best: joint training against that modality alone.
        alternatives: to joint training.
    """

    joint: float
    rate: float
    guessing: float
    divisions: int
    modalities: list[Modality]
    best: str
    over_best: Difference
    alternatives: list[Alternative]

    @property
    def methods(self) -> list[Alternative]:
        return [a for a in self.alternatives if a.variant.kind == METHOD]

    @property
    def signs(self) -> list[str]:
        """Signs of imbalance: "below", "short" and "rates"."""
        found = ["below"] if self.over_best.high < 0 else []
        found += ["short"] if any(m.falls_short for m in self.modalities) else []
        rates = any(a.helps for a in self.alternatives if a.variant.kind == RATE)
        return [*found, *(["rates"] if rates else [])]

    @property
    def advised(self) -> Alternative | None:
        """What is surely better than joint training by most; None where nothing is."""
        better = [a for a in self.alternatives if a.helps]
        return max(better, key=lambda a: a.gain.low, default=None)

    @property
    def unseen(self) -> float:
        """Largest gain of a method that these data do not exclude; 0 or more."""
        return max([0.0, *(a.gain.high for a in self.methods)])

    @property
    def half_width(self) -> float:
        """Median half width of the methods' intervals."""
        halves = [(a.gain.high - a.gain.low) / 2 for a in self.methods or self.alternatives]
        return float(np.median(halves))

    @property
    def verdict(self) -> str:
        """ "single", "rates", "method", "joint" (is enough) or "unclear"."""
        if self.advised is not None:
            kinds = {ALONE: "single", RATE: "rates", METHOD: "method"}
            return kinds[self.advised.variant.kind]
        return "unclear" if self.half_width > MARGIN else "joint"


def find(
    samples: Samples, variants: Sequence[Variant], rows: Sequence[Row], divisions: int
) -> Findings:
    """Judge the divisions in which everything was trained.

    Args:
        samples: the data.
        variants: all that was to be trained.
        rows: what was.
        divisions: most.

    Raises:
        InputError: fewer than three divisions are complete.
    """
    rates = chosen_rates(variants, rows)
    known = {row.key: row for row in rows}
    whole = [
        division
        for division in range(divisions)
        if all((v.name, division, rates[v.name]) in known for v in variants)
    ]
    if len(whole) < FEWEST_PAIRS:
        raise InputError(
            f"{len(rows):,} trainings are done, which is {len(whole)} whole divisions of the data; "
            f"advice takes {FEWEST_PAIRS} or more: the same command goes on, with more --minutes "
            "or fewer --methods it comes further"
        )
    chosen = {v.name: [known[v.name, d, rates[v.name]] for d in whole] for v in variants}
    tests = {name: [row.test for row in found] for name, found in chosen.items()}
    alone = [v for v in variants if v.kind == ALONE]
    best = max(alone, key=lambda v: float(np.mean([row.val for row in chosen[v.name]])))
    others = [v for v in variants if v.kind in (METHOD, RATE)] + [best]
    guessing = guessed(samples)
    return Findings(
        float(np.mean(tests[JOINT])),
        rates[JOINT],
        guessing,
        len(whole),
        [_modality(v, chosen, guessing) for v in alone],
        best.modality,
        corrected_difference(tests[JOINT], tests[best.name]),
        [
            Alternative(
                v,
                rates[v.name],
                float(np.mean(tests[v.name])),
                corrected_difference(tests[v.name], tests[JOINT], comparisons=len(others)),
            )
            for v in others
        ],
    )


def guessed(samples: Samples) -> float:
    """Points of one class for everything, the best; for a regression 0, the R squared of the mean.

    Args:
        samples: the data.
    """
    if samples.classes is None:
        return 0.0
    shape = (len(samples.labels), samples.classes, *samples.labels.shape[2:])
    guesses = torch.zeros(shape)
    found = []
    for number in range(samples.classes):
        guesses.zero_()[:, number] = 1
        found.append(points(guesses, samples.labels, samples.task))
    return max(found)


def _modality(variant: Variant, chosen: dict[str, list[Row]], guessing: float) -> Modality:
    name = variant.modality
    alone = [row.test for row in chosen[variant.name]]
    within = [row.classifiers[name] for row in chosen[JOINT]]
    return Modality(
        name,
        float(np.mean(alone)),
        corrected_difference(alone, [guessing] * len(alone)),
        float(np.mean(within)),
        corrected_difference(alone, within),
    )
