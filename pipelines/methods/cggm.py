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
from .balance import bounded_balance, paper_balance

Rule = Literal["bounded", "paper", "none"]
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

    One object serves one training: it remembers the scores of the last step. As in the paper, with
    one guard, ``rule="bounded"``. ``rho`` and ``lam`` are those of Table 7 for classification;
    it has ``lam=0.2`` for CMU-MOSI, and ``rho=1.2``, ``lam=0.1`` for BraTS.

    Args:
        rho: scale of the balancing term (eq. 7).
        lam: weight of the direction term in the loss (eq. 13); 0 leaves it out.
        rule: "bounded" is eq. 7 where no modality got worse, is kept in [0, rho] where one did, and
            1 where the improvements cancel (see :func:`bounded_balance`); "paper" is eq. 7 to the
            letter; "none" is B = 1, the direction term alone.
        apply: "gradient" scales the encoders' gradients, eq. 8. "step" scales the update itself,
            through the learning rate of each encoder's parameter group for this one step. The two
            are the same for SGD without momentum and weight decay; with them "step" scales the
            whole update, decay included. Adam and AdamW divide a gradient by its own recent size
            and so undo most of a factor on it; "step" delivers it.
        direction: "gradient" is eq. 12: cosines of gradients, differentiated through the network.
            "weight" is what the authors released: cosines of last-layer *weights*, one step stale,
            weighted by B / rho, felt by the network's last layer only. "none" leaves it out.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Guo, Jin, Chen, Zhao: Classifier-guided Gradient Modulation. NeurIPS 2024"
    changes = "encoders' gradients, direction of the fusion's"
    published = frozenset(TASKS)
    extended = frozenset()
    modalities = (2, None)
    needs_classifiers = True
    needs_head = True

    def __init__(
        self,
        rho: float = 1.3,
        lam: float = 0.15,
        *,
        rule: Rule = "bounded",
        apply: Apply = "gradient",
        direction: Direction = "gradient",
    ) -> None:
        check_number("rho", rho, above=0)
        check_number("lam", lam)
        if str(rule) == "centered":
            raise ValueError(
                "rule is 'centered', which is a method of its own now, progress_rates: choose that "
                f"method, or one of the rules {list(get_args(Rule))}"
            )
        check_choice("rule", rule, get_args(Rule))
        check_choice("apply", apply, get_args(Apply))
        check_choice("direction", direction, get_args(Direction))
        self.rho, self.lam = rho, lam
        self.rule, self.apply, self.direction = rule, apply, direction
        self.needs_double_backward = direction == "gradient" and lam > 0
        self._score: Tensor | None = None  # of the last step
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
        self._score = torch.where(step.scores.isfinite(), step.scores, self._last(step))
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
        """Eqs. 6 and 7; where a score is not finite, its modality stays where it was."""
        last = self._last(step)
        self._improvement = torch.where(step.scores.isfinite(), step.scores - last, 0.0)
        if self.rule == "none":
            self._balance = torch.ones_like(last)
        else:
            rule = paper_balance if self.rule == "paper" else bounded_balance
            self._balance = rule(self._improvement, self.rho)

    def _last(self, step: Step) -> Tensor:
        """Scores of the step before. "Particularly, epsilon^0 is initialized to 0."."""
        scores = step.scores
        return torch.zeros_like(scores) if self._score is None else self._score.to(scores)

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
        return {"score": self._score, "stale": self._stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned.

        Raises:
            ValueError: it compared running means of scores, as earlier versions did by default.
        """
        score, mean = state["score"], state.get("reference")
        if mean is not None and not torch.allclose(score, mean.to(score), equal_nan=True):
            raise ValueError(
                "the state is of a training with smoothed scores, which earlier versions called "
                "cggm: train anew, with cggm or with its successor progress_rates"
            )
        self._score = score
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
