"""Gradient blending (Wang et al., CVPR 2020)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.batches import training_data
from ..balancing.distributed import broadcast
from ..balancing.method import Method, Run, Step
from ..balancing.randomness import undisturbed
from ..balancing.settings import check_choice, check_number, check_whole
from ..balancing.trials import Trial, parted

Mode = Literal["offline", "online"]


def blend_weights(before: Tensor, after: Tensor, floor: float = 0.01) -> Tensor | None:
    """w = G / O^2 of Wang et al., eqs. 5 and 6, for all outputs, summing to one.

    G is how far the held-out loss fell, O how far the gap between held-out and training loss grew.
    A loss that rose gets no weight, and O counts as at least ``floor`` times the first training
    loss: without the two, noise in G or O near 0 decides everything.

    Args:
        before: losses at the start, shape (K, 2): training, held out.
        after: losses n epochs later, shape (K, 2).
        floor: see above.

    Returns:
        Weights (K,), or None when no held-out loss fell.

    >>> blend_weights(torch.tensor([[2., 2.], [2., 2.]]), torch.tensor([[1., 1.6], [.8, 1.4]]))
    tensor([0.4000, 0.6000])
    """
    gain = (before[:, 1] - after[:, 1]).clamp(min=0)
    overfitting = (after[:, 1] - after[:, 0]) - (before[:, 1] - before[:, 0])
    least = (floor * before[:, 0].abs()).clamp(min=1e-12)
    weights = gain / torch.maximum(overfitting.abs(), least).square()
    weights = torch.where(weights.isfinite(), weights, torch.zeros_like(weights))
    total = weights.sum()
    return weights / total if float(total) > 0 else None


class GBlending(Method):
    """Blend the losses of all classifiers and of the network by what their training is worth.

    L = sum_k w_k L_k over the M classifiers and the network. For the weights every output is
    trained by itself for ``trial_epochs`` epochs on most of the training data, on copies of network
    and classifiers with a fresh optimizer; the rest of the data judges (:func:`blend_weights`).
    Offline this is done once, before training; online again whenever ``trial_epochs`` epochs have
    passed (the paper's super-epochs), from the network of that time. Nothing of a trial stays:
    neither weights nor running statistics nor random states. If no held-out loss fell, the weights
    stay as they are, or all alike in the beginning. Trials run in full precision, at the learning
    rates of that time (in the first epoch those without warm-up), without schedule and clipping.

    The authors released the blended loss with weights to be given by hand; estimation follows the
    paper's Algorithms 1 and 2. Further differences:

    - The lower bounds of G and O are ours; others' code takes the absolute value of G / O^2, which
      rewards a loss that rises. The classifiers here are those of CGGM, on attached features.
    - Classifiers share nothing, so one copy trains all of them at once, with the same result.
    - Held out are whole samples by id (slices: whole cases). Training itself uses all data, so
      later online trials judge on samples that the network has seen; offline ones do not.
    - Only losses are used: regression and segmentation are extensions without a change.

    Args:
        mode: "offline" or "online".
        trial_epochs: n, the length of a trial and of a super-epoch. The paper trains offline to
            convergence; every trial costs about 1.6 n epochs of joint training.
        held_out: share of the training data that judges, in (0, 0.5].
        floor: least overfitting, as a share of the loss.
        seed: of the split and of the trials.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Wang, Tran, Feiszli: What Makes Training Multi-modal Networks Hard? CVPR 2020"
    changes = "weights of the losses, classifiers' included"
    modalities = (2, None)
    published_modalities = 3
    needs_classifiers = True
    attached = True
    needs_batches = True

    def __init__(
        self,
        mode: Mode = "offline",
        trial_epochs: int = 5,
        *,
        held_out: float = 0.2,
        floor: float = 0.01,
        seed: int = 0,
    ) -> None:
        check_choice("mode", mode, get_args(Mode))
        check_whole("trial_epochs", trial_epochs, 1)
        check_number("held_out", held_out, 0.5, above=0)
        check_number("floor", floor, 1, above=0)
        check_whole("seed", seed, 0)
        self.mode, self.trial_epochs = mode, trial_epochs
        self.held_out, self.floor, self.seed = held_out, floor, seed
        self._weights: Tensor | None = None  # of the classifiers in order, then of the network
        self._estimated = 0  # the epoch that began with the last estimation

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        if len(training_data(run)) < 2:
            raise ValueError("GBlending holds out training data; there is 1 sample or batch only")

    def epoch_begins(self, run: Run) -> None:
        """Estimate the weights when it is time to."""
        passed = run.epoch - self._estimated
        if self._weights is None or (self.mode == "online" and passed >= self.trial_epochs):
            weights = self._estimate(run)
            if weights is not None:
                self._weights = weights
            elif self._weights is None:
                count = len(run.modalities) + 1
                self._weights = torch.full((count,), 1 / count)
            self._estimated = run.epoch

    def _estimate(self, run: Run) -> Tensor | None:
        parts = parted(run, self.held_out, self.seed)
        seed = self.seed + 1009 * run.epoch
        with undisturbed(run, seed):
            alone = Trial(run)
            before = alone.losses(parts)
            alone.train(parts[0], self.trial_epochs, seed, joint=False)
            after = alone.losses(parts)
            del alone  # one copy in memory at a time
            joint = Trial(run)
            joint.train(parts[0], self.trial_epochs, seed, joint=True)
            after[-1] = joint.losses(parts)[-1]
        for losses in (before, after):
            losses_here = losses.to(run.device)
            broadcast(losses_here)
            losses.copy_(losses_here)
        return blend_weights(before, after, self.floor)

    def loss(self, step: Step) -> Tensor:
        """The blended loss, eq. 3."""
        if self._weights is None:
            raise RuntimeError("the weights are estimated when an epoch begins; none has begun")
        weights = self._weights.to(step.task_loss)
        losses = [step.classifier_losses[name] for name in step.modalities]
        return (weights * torch.stack([*losses, step.task_loss])).sum()

    def record(self) -> dict[str, Tensor]:
        """Weights of the classifiers' losses; that of the network's loss is 1 minus their sum."""
        return {} if self._weights is None else {"balance": self._weights[:-1]}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights, "estimated": self._estimated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._weights, self._estimated = state["weights"], state["estimated"]
