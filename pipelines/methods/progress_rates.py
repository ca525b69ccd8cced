"""Learning rates of the encoders by relative progress: ours, after CGGM."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.method import TASKS, Method, Step
from ..balancing.optimization import StepFactors
from ..balancing.settings import check_choice, check_number

Rule = Literal["pairs", "shares"]


def pair_factors(improvement: Tensor, strength: float, floor: float) -> Tensor:
    """Factors from pairs of modalities that both improve: what one loses the other gains.

    With gains g, what the improvements are above ``floor``, modality i has 1 plus ``strength``
    times the mean over the others, j, of 4 g_i g_j (g_j - g_i) / (g_i + g_j + floor)^3. A pair of
    which one does not improve, since it is noise or has finished, changes nothing; so does a pair
    that improves alike. A pair's term is largest, 0.38, where one gains 4 times as much as the
    other.

    Args:
        improvement: how much each classifier's score rises, shape (M,), M > 1.
        strength: how far the factors leave 1; up to 2 none is negative. Their mean is 1.
        floor: improvements up to it count as none, in units of the score; above 0.

    >>> pair_factors(torch.tensor([0.4, 0.1]), strength=1.0, floor=1e-6)
    tensor([0.6160, 1.3840])
    >>> pair_factors(torch.tensor([0.4, 0.0]), strength=1.0, floor=0.01)
    tensor([1., 1.])
    """
    gains = (improvement - floor).clamp(min=0)
    own, other = gains[:, None], gains[None, :]
    terms = 4 * own * other * (other - own) / (own + other + floor) ** 3
    return 1 + strength * terms.sum(1) / (len(gains) - 1)


def share_factors(improvement: Tensor, strength: float, *, tolerance: float = 0.1) -> Tensor:
    """Eq. 7 of CGGM around 1, the rule of earlier versions.

    B = 1 + strength (M / (M - 1) b - 1), with b of eq. 7 for rho = 1, where a modality that got
    worse counts as not improved; not below 0, and 1 for all where the improvements cancel. It
    slows whoever improves alone, also beside noise, and beside those that have finished.

    Args:
        improvement: how much each classifier's score rises, shape (M,), M > 1.
        strength: how far the factors leave 1; up to 1 their mean is exactly 1.
        tolerance: the improvements cancel when their sum is at most this share of the sum of
            their sizes.

    >>> share_factors(torch.tensor([3.0, 1.0]), strength=1.0)
    tensor([0.5000, 1.5000])
    """
    cancelled = improvement.sum() <= tolerance * improvement.abs().sum()
    gained = improvement.clamp(min=0)
    count = len(improvement)
    share = 1 - gained / gained.sum().clamp(min=1e-8)
    factors = (1 + strength * (count / (count - 1) * share - 1)).clamp(min=0)
    return torch.where(cancelled, torch.ones_like(factors), factors)


class ProgressRates(Method):
    """Give the encoder whose classifier improves less the higher learning rate, while both do.

    Ours, after CGGM: no gradient is changed, and there is no direction term. Factors around 1 go
    into the learning rate of each encoder's parameter group for one step, where Adam cannot undo
    them; fusion, head and classifiers keep theirs.

    Args:
        strength: how far the factors leave 1, in (0, 2] with the rule "pairs".
        smoothing: s in [0, 1), the share of the past in two running means; 0 compares single steps.
            The improvement is how far the running mean of the scores is above its own running mean,
            so the noise of single batches leaves both. About 1 / (1 - s) steps count.
        rule: "pairs" (see :func:`pair_factors`), or "shares", that of earlier versions
            (:func:`share_factors`), kept to show what it does.
        floor: improvements up to it count as none (rule "pairs"), in units of the score.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "ours, after CGGM"
    changes = "learning rates of the encoders"
    published = frozenset()
    extended = frozenset(TASKS)
    modalities = (2, None)
    needs_classifiers = True

    def __init__(
        self,
        strength: float = 1.0,
        *,
        smoothing: float = 0.97,
        rule: Rule = "pairs",
        floor: float = 0.01,
    ) -> None:
        check_number("strength", strength, 2)
        check_number("smoothing", smoothing, below=1)
        check_choice("rule", rule, get_args(Rule))
        check_number("floor", floor, above=0)
        self.strength, self.smoothing, self.rule, self.floor = strength, smoothing, rule, floor
        self._score: Tensor | None = None  # a running mean up to the last step
        self._reference: Tensor | None = None  # that of the running mean
        self._improvement = torch.zeros(0)
        self._balance = torch.zeros(0)
        self._factors = StepFactors()

    def gradients(self, step: Step) -> None:
        """Scale the coming update of each encoder."""
        # A score that is not finite says nothing; a mean starts at the first one that is.
        new = torch.where(step.scores.isfinite(), step.scores, torch.nan)
        score = self._mean(self._score, new)
        before = score if self._reference is None else self._reference.to(score)
        # What has no score yet, or moved by no more than rounding, has not improved.
        gained = (score - before).nan_to_num(0.0)
        rounding = 8 * torch.finfo(score.dtype).eps * score.abs()
        self._improvement = torch.where(gained.abs() > rounding, gained, 0.0)
        if self.rule == "shares":
            self._balance = share_factors(self._improvement, self.strength)
        else:
            self._balance = pair_factors(self._improvement, self.strength, self.floor)
        self._score, self._reference = score, self._mean(self._reference, score)
        self._factors.apply(step.optimizer, step.encoders, self._balance.tolist())

    def stepped(self, step: Step) -> None:
        """Give the parameter groups their own learning rates back."""
        self._factors.undo()

    def _mean(self, before: Tensor | None, new: Tensor) -> Tensor:
        """A running mean with a new value, of those that there are; NaN is none."""
        before = torch.full_like(new, torch.nan) if before is None else before.to(new)
        both = self.smoothing * before + (1 - self.smoothing) * new
        return torch.where(before.isnan(), new, torch.where(new.isnan(), before, both))

    def record(self) -> dict[str, Tensor]:
        """Improvement and factor of the last step."""
        return {"improvement": self._improvement, "balance": self._balance}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score, "reference": self._reference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._score, self._reference = state["score"], state["reference"]
