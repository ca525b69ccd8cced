"""Classifier-guided gradient modulation (Guo et al., NeurIPS 2024), equations 6 to 13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.gradients import cosines, gradients_of
from ..balancing.method import TASKS, Method, Step, last_weight
from ..balancing.optimization import StepFactors
from ..balancing.settings import check_choice, check_number
from .balance import bounded_balance, centered_balance, paper_balance

Rule = Literal["bounded", "paper", "centered", "none"]
Apply = Literal["gradient", "step"]
Direction = Literal["gradient", "weight", "none"]


def direction_loss(balance: Tensor, fusion: Tensor, unimodal: Sequence[Tensor]) -> Tensor:
    """L_gm of eq. 12: how far the fusion's gradient is from the classifiers', weighted by balance.

    Args:
        balance: B, shape (M,); a constant.
        fusion: gradient in the network's last layer (eq. 10), any shape.
        unimodal: gradient in each classifier's last layer (eq. 9), M tensors of that shape.

    Returns:
        A scalar, never negative; gradients flow into ``fusion`` when it has a graph.
    """
    return (balance.abs() - balance * cosines(fusion, unimodal)).mean()


def steadied(fusion: Tensor, unimodal: Sequence[Tensor], shortest: float = 0.01) -> Tensor:
    """The fusion's gradient, letting less back through it the closer it is to zero.

    The derivative of a cosine grows as one over the length: where the task loss has no slope left
    (a residual of 0, a layer that starts at 0) the direction term alone would throw the network
    out. Nothing changes while ``fusion`` is longer than ``shortest`` times the mean of the others.

    Args:
        fusion: gradient in the network's last layer, with its graph.
        unimodal: gradients in the classifiers' last layers.
        shortest: see above.

    Returns:
        The same values as ``fusion``.
    """
    value = fusion.detach()
    floor = shortest * torch.stack([gradient.norm() for gradient in unimodal]).mean()
    passed = (value.norm() / floor.clamp(min=1e-30)).clamp(max=1)
    return value + passed * (fusion - value)


class CGGM(Method):
    """Scale each encoder's gradient by B (eqs. 7, 8) and pull the fusion's direction (eq. 12).

    One object serves one training: it remembers the scores of the last steps. The defaults are
    those that docs/study.md chose on validation data; the paper's are ``rho=1.2`` (to 1.3),
    ``lam=0.1`` (to 0.2), ``rule="paper"``, ``apply="gradient"``, ``smoothing=0``.

    Args:
        rho: with rule "centered", how far the factors leave 1; else the scale of the balancing
            term.
        lam: weight of the direction term in the loss (eq. 13); 0 leaves it out.
        rule: "centered" (see :func:`centered_balance`), "bounded" (see :func:`bounded_balance`),
            "paper" (eq. 7 as printed) or "none" (B = 1, the direction term alone).
        apply: "gradient" scales the encoders' gradients as eq. 8 is written; "step" scales the
            update itself, through the learning rate of each encoder's parameter group for this one
            step. The two are the same for SGD without momentum and weight decay; with them "step"
            scales the whole update, decay included. Adam and AdamW divide a gradient by its own
            recent size and so undo most of a factor on it; there "step" means what eq. 8 says.
        direction: "gradient" is eq. 12: cosines of gradients, differentiated through the network.
            "weight" is what the authors released: cosines of last-layer *weights*, one step stale,
            weighted by B / rho, felt by the network's last layer only. "none" leaves it out.
        smoothing: s in [0, 1), the share of the past in two running means; 0 is the paper. The
            improvement is how far the running mean of the scores is above its own running mean,
            so the noise of single batches leaves both. About 1 / (1 - s) steps count.
        ceiling: largest factor of the bounded rule, ``rho`` when not given.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Guo, Jin, Chen, Zhao: Classifier-guided Gradient Modulation. NeurIPS 2024"
    changes = "encoders' updates or gradients, direction of the fusion's"
    published = frozenset(TASKS)
    extended = frozenset()
    modalities = (2, None)
    needs_classifiers = True
    needs_head = True

    def __init__(
        self,
        rho: float = 1.0,
        lam: float = 0.0,
        *,
        rule: Rule = "centered",
        apply: Apply = "step",
        direction: Direction = "gradient",
        smoothing: float = 0.97,
        ceiling: float | None = None,
    ) -> None:
        check_number("rho", rho, above=0)
        check_number("lam", lam)
        check_choice("rule", rule, get_args(Rule))
        check_choice("apply", apply, get_args(Apply))
        check_choice("direction", direction, get_args(Direction))
        check_number("smoothing", smoothing, below=1)
        if ceiling is not None:
            check_number("ceiling", ceiling, above=0)
        self.rho, self.lam = rho, lam
        self.rule, self.apply, self.direction = rule, apply, direction
        self.smoothing, self.ceiling = smoothing, ceiling
        self.needs_double_backward = direction == "gradient"
        self._score: Tensor | None = None  # of the last step, or a running mean up to it
        self._reference: Tensor | None = None  # what the next score is compared with
        self._improvement = torch.zeros(0)
        self._balance = torch.zeros(0)
        self._stale: tuple[Tensor, Tensor] | None = None  # direction="weight": value, gradient
        self._factors = StepFactors()

    def loss(self, step: Step) -> Tensor:
        """Eq. 13: the task loss plus lam times the direction term."""
        self._measure(step)
        if self.direction == "none" or self.lam == 0:
            return step.task_loss
        if self.direction == "weight":
            return step.task_loss + self.lam * self._stale_weight_term(step)
        # A classifier that broke down has no direction: cosine 0 instead of NaN for all.
        unimodal = [torch.where(g.isfinite().all(), g, 0.0) for g in step.classifier_gradients()]
        fusion = steadied(step.fusion_gradient(differentiable=True), unimodal)
        gm = direction_loss(self._balance, fusion, unimodal)
        return step.task_loss + self.lam * gm

    def gradients(self, step: Step) -> None:
        """Eq. 8: scale the encoders' gradients, or the coming update."""
        self._score, self._reference = self._scores(step)
        if self.direction == "weight":
            self._stale = weight_direction(step, self._balance / self.rho)
        if self.rule == "none":
            return
        if self.apply == "step":
            self._factors.apply(step.optimizer, step.encoders, self._balance.tolist())
            return
        for encoder, factor in zip(step.encoders.values(), self._balance, strict=True):
            for gradient in gradients_of(encoder):
                gradient.mul_(factor.to(gradient.device))

    def stepped(self, step: Step) -> None:
        """Give the parameter groups their own learning rates back."""
        self._factors.undo()

    def _measure(self, step: Step) -> None:
        score, _ = self._scores(step)
        # "Particularly, epsilon^0 is initialized to 0."
        gained = score - (0.0 if self._reference is None else self._reference.to(score))
        # What has no score yet, or moved by no more than rounding, has not improved.
        rounding = 8 * torch.finfo(score.dtype).eps * score.abs() if self.smoothing else 0.0
        self._improvement = torch.where(gained.abs() > rounding, gained, 0.0)
        if self.rule == "none":
            self._balance = torch.ones_like(score)
        elif self.rule == "paper":
            self._balance = paper_balance(self._improvement, self.rho)
        elif self.rule == "centered":
            self._balance = centered_balance(self._improvement, self.rho)
        else:
            ceiling = self.rho if self.ceiling is None else self.ceiling
            self._balance = bounded_balance(self._improvement, self.rho, ceiling=ceiling)

    def _scores(self, step: Step) -> tuple[Tensor, Tensor]:
        """Score and reference with this step; they are kept when all its samples were seen."""
        # A score that is not finite says nothing; a mean starts at the first one that is.
        new = torch.where(step.scores.isfinite(), step.scores, torch.nan)
        score = self._mean(self._score, new)
        return score, self._mean(self._reference, score)

    def _mean(self, before: Tensor | None, new: Tensor) -> Tensor:
        """A running mean with a new value, of those that there are; NaN is none."""
        before = torch.full_like(new, torch.nan) if before is None else before.to(new)
        both = self.smoothing * before + (1 - self.smoothing) * new
        return torch.where(before.isnan(), new, torch.where(new.isnan(), before, both))

    def _stale_weight_term(self, step: Step) -> Tensor:
        if self._stale is None:
            return step.task_loss.new_zeros(())
        weight = last_weight(step.last_layer)
        value, gradient = (tensor.to(weight) for tensor in self._stale)
        linear = (gradient * weight).sum()
        return value + linear - linear.detach()

    def record(self) -> dict[str, Tensor]:
        """Improvement (eq. 6) and balance (eq. 7) of the last step."""
        return {"improvement": self._improvement, "balance": self._balance}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score, "reference": self._reference, "stale": self._stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._score, self._reference = state["score"], state["reference"]
        self._stale = None if state["stale"] is None else tuple(state["stale"])


def weight_direction(step: Step, balance: Tensor) -> tuple[Tensor, Tensor]:
    """The released code's direction term: eq. 12 on last-layer weights instead of gradients.

    Returns:
        Its value (a scalar) and its gradient in the weight of the network's last layer.
    """
    weight = last_weight(step.last_layer).detach().clone().requires_grad_()
    unimodal = [last_weight(c).detach() for c in step.classifiers.values()]
    with torch.enable_grad():
        value = direction_loss(balance.to(weight), weight, unimodal)
        (gradient,) = torch.autograd.grad(value, weight)
    return value.detach(), gradient
