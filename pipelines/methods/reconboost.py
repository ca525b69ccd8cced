"""ReconBoost: modalities are boosted in turns (Hua et al., ICML 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from ..balancing.distributed import is_distributed
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_choice, check_number, check_whole

Residual = Literal["paper", "released"]
Error = Literal["l1", "l2"]

RELEASED = 4  # epochs of either part of a stage


def stage_lengths(n1: int | None, n2: int | None, count: int, epochs: int) -> tuple[int, int]:
    """Epochs of a stage for one member and for all: those given, or as many as fit a round.

    Args:
        n1: for one member.
        n2: for all.
        count: number of members.
        epochs: of the training.

    >>> stage_lengths(None, None, 4, 150), stage_lengths(None, None, 4, 20)
    ((4, 4), (2, 2))
    """
    fitting = max(1, min(RELEASED, epochs // (2 * count)))
    return (fitting if n1 is None else n1), (fitting if n2 is None else n2)


def stage_of(epoch: int, n1: int, n2: int) -> tuple[int, bool]:
    """Number of the stage from 0, and whether one member learns rather than several together.

    Args:
        epoch: from 1.
        n1: epochs of a stage in which one member learns.
        n2: epochs after those in which all that have had a turn do.

    >>> [stage_of(epoch, 2, 1) for epoch in (1, 2, 3, 4)]
    [(0, True), (0, True), (0, False), (1, True)]
    """
    stage, done = divmod(max(epoch - 1, 0), n1 + n2)
    return stage, done < n1


def residual_loss(
    prediction: Tensor, others: Tensor | None, label: Tensor, w1: float, w2: float
) -> Tensor:
    """Cross-entropy to the truth minus that to what the others say already.

    -sum_c (w1 y_c - w2 p_c) log q_c with p of the others and q of the member at hand: the paper's
    loss with lambda = w2 / w1. The others' probabilities are constants.

    Args:
        prediction: logits of the member that learns, (B, C, ...).
        others: sum of the others' logits, same shape; None when none of them was trained yet.
        label: class numbers (B, ...).
        w1: weight of the truth.
        w2: weight of the others.

    Returns:
        The mean over samples, and over pixels; a scalar. It is not bounded from below: where the
        others are wrong, their class is pushed away at a constant rate.

    >>> residual_loss(torch.zeros(1, 2), None, torch.tensor([0]), 1.0, 0.5)
    tensor(0.6931)
    """
    logs = prediction.log_softmax(1)
    loss = -w1 * logs.gather(1, label[:, None])[:, 0]
    if others is not None:
        loss = loss + w2 * (others.detach().softmax(1) * logs).sum(1)
    return loss.mean()


def released_residual_loss(
    prediction: Tensor, others: Tensor | None, label: Tensor, w1: float, w2: float
) -> Tensor:
    """(w1 - w2 p_y) / C times the cross-entropy: the residual at the true class alone.

    The arguments are those of :func:`residual_loss`. Without others released code has p_y = 1.

    >>> released_residual_loss(torch.zeros(1, 2), None, torch.tensor([0]), 2.0, 1.0)
    tensor(0.3466)
    """
    logs = prediction.log_softmax(1).gather(1, label[:, None])
    truth = torch.ones_like(logs)
    if others is not None:
        truth = others.detach().softmax(1).gather(1, label[:, None])
    return ((w1 - w2 * truth) * -logs).mean() / prediction.shape[1]


def memory_loss(prediction: Tensor, previous: Tensor) -> Tensor:
    """Mean squared difference to the probabilities of the member that learned before, a constant.

    >>> memory_loss(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor(0.)
    """
    return mse_loss(prediction.softmax(1), previous.detach().softmax(1))


def residual_error(prediction: Tensor, rest: Tensor, error: Error) -> Tensor:
    """Error of a member that predicts what the sum of the others lacks; an extension of ours.

    Args:
        prediction: of the member, (B, 1).
        rest: the truth minus what the others add up to, a constant, (B, 1).
        error: "l1" or "l2".

    >>> residual_error(torch.tensor([[1.0]]), torch.tensor([[3.0]]), "l1")
    tensor(2.)
    """
    return (l1_loss if error == "l1" else mse_loss)(prediction, rest.to(prediction))


class ReconBoost(Method):
    """Train one modality at a time on what the sum of the others lacks, then all together.

    Every modality has a network of its own, and their predictions are added up. A stage of n1 + n2
    epochs belongs to one modality, in turns. In the first n1 epochs only its network learns, with
    the loss -sum_c (w1 y_c - w2 p_c) log q_c, where p is what the sum of the others says: gradient
    boosting on the residual, with lambda = w2 / w1. Memory consolidation adds alpha times the
    squared difference to the probabilities of the modality whose turn was before. In the other n2
    epochs (global rectification) all learn from the loss of the sum. The stage follows from the
    epoch; a round of all modalities takes M (n1 + n2) epochs, several are meant, and a training
    that ends before the last modality learned is refused. In the first round the sum consists of
    the modalities that have had a turn, as released: the others say nothing and learn nothing.

    Paper and released code: the paper's residual has all classes, the released one only the true
    one, (w1 - w2 p_y) / C times the cross-entropy; ``residual="released"`` does that. Released
    memory consolidation is detached on both sides and changes nothing; here it has a gradient.
    Released code starts a new optimizer with each phase and learns a factor on the sum; here the
    optimizer is one, a network that does not learn keeps its momentum, and the sum has no factor.
    Its last layer is shared by the modalities, as an option; ours is not. Its authors advise to
    start from networks of single modalities. We read abstract and code, not the whole paper.

    Extensions of ours: segmentation, the same for each pixel; regression, where a network fits the
    truth minus the others' sum, without memory consolidation, since parts of a sum need not be
    alike.

    Args:
        w1: weight of the truth; released 5 (CREMA-D), 4 (AVE, ModelNet40), 1 (sentiment).
        w2: weight of the others; released 1, and 0.25 with w1 = 1.
        alpha: weight of the memory consolidation.
        n1: epochs of a stage for one modality, 1 or more; not given, 4 as released, or fewer so
            that a short training has a whole round.
        n2: epochs of a stage for all of them, 0 or more; not given, likewise.
        residual: "paper" or "released", for classification and segmentation.
        error: "l1" or "l2", for regression.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Hua et al.: ReconBoost: Boosting Can Achieve Modality Reconcilement. ICML 2024"
    changes = "alternating training on residuals, sum of predictions"
    published_modalities = 3
    late_fusion = "sum"
    needs_epochs = True

    def __init__(
        self,
        w1: float = 1.0,
        w2: float = 0.25,
        *,
        alpha: float = 0.5,
        n1: int | None = None,
        n2: int | None = None,
        residual: Residual = "paper",
        error: Error = "l1",
    ) -> None:
        check_number("w1", w1, above=0)
        check_number("w2", w2)
        check_number("alpha", alpha)
        if n1 is not None:
            check_whole("n1", n1, 1)
        if n2 is not None:
            check_whole("n2", n2, 0)
        check_choice("residual", residual, get_args(Residual))
        check_choice("error", error, get_args(Error))
        self.w1, self.w2, self.alpha, self.n1, self.n2 = w1, w2, alpha, n1, n2
        self.residual: Residual = residual
        self.error: Error = error
        self._stage = RELEASED, RELEASED  # epochs, of one and of all
        self._active = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        """Refuse networks that are no late fusion, and trainings too short for a round."""
        super().prepare(run)
        if not hasattr(run.network, "members"):
            raise ValueError(
                f"ReconBoost adds up the predictions of single modalities, and "
                f"{type(run.network).__name__} has no `members` that give them: build a "
                "cggm.models.LateFusion with the rule 'sum'"
            )
        count = len(run.modalities)
        alone, together = self._stage = stage_lengths(self.n1, self.n2, count, run.epochs)
        needed = (count - 1) * (alone + together) + alone
        if run.epochs < needed:
            raise ValueError(
                f"ReconBoost gives {count} modalities stages of {alone} + {together} epochs in "
                f"turn, and a training of {run.epochs} epochs ends before the last of them "
                f"learned: train for {needed} epochs or more (a round is "
                f"{count * (alone + together)}), or pass shorter stages, n1 and n2"
            )

    def stage(self, run: Run) -> tuple[int, bool]:
        """See :func:`stage_of`."""
        return stage_of(run.epoch, *self._stage)

    def turn(self, run: Run) -> str | None:
        """The modality that learns alone in this epoch; None when all learn."""
        stage, alone = self.stage(run)
        return run.modalities[stage % len(run.modalities)] if alone else None

    def learning(self, run: Run) -> list[str]:
        """The modalities that learn in this epoch: one, or all that have had a turn."""
        name = self.turn(run)
        return self._begun(run) if name is None else [name]

    def _begun(self, run: Run) -> list[str]:
        """The modalities that have had a turn, or have it: all of them after the first round."""
        return run.modalities[: self.stage(run)[0] + 1]

    def loss(self, step: Step) -> Tensor:
        """The loss on the residual of the modality at hand, or the task loss of the sum so far."""
        name, learning = self.turn(step.run), self.learning(step.run)
        self._active = torch.tensor([float(m in learning) for m in step.modalities])
        if learning == step.modalities and name is None:
            return step.task_loss
        if name is None:
            total = torch.stack([step.predictions[m].float() for m in learning]).sum(0)
            loss = step.task.loss(total, step.label).mean()
        else:
            loss = self._boosting_loss(step, name)
        if is_distributed():
            # DistributedDataParallel waits for a gradient of every parameter.
            loss = loss + 0 * step.prediction.sum()
        return loss

    def _boosting_loss(self, step: Step, name: str) -> Tensor:
        prediction = step.predictions[name].float()
        begun = self._begun(step.run)
        others = total_of([step.predictions[other].float() for other in begun if other != name])
        nothing = torch.zeros_like(prediction)
        rest = step.task.residual(nothing if others is None else others, step.label)
        if rest is not None:
            return residual_error(prediction, rest, self.error)
        logits, label = step.task.choices(prediction, step.label)
        if others is not None:
            others, _ = step.task.choices(others, step.label)
        form = residual_loss if self.residual == "paper" else released_residual_loss
        loss = form(logits, others, label, self.w1, self.w2)
        stage, _ = self.stage(step.run)
        before = step.modalities[(stage - 1) % len(step.modalities)]
        if stage > 0 and before != name and self.alpha > 0:
            memory, _ = step.task.choices(step.predictions[before].float(), step.label)
            loss = loss + self.alpha * memory_loss(logits, memory)
        return loss

    def gradients(self, step: Step) -> None:
        """Nothing of the others moves, neither by momentum nor by weight decay."""
        learning = self.learning(step.run)
        members: Any = step.run.network.get_submodule("members")
        for name, member in members.items():
            if name not in learning:
                for parameter in member.parameters():
                    parameter.grad = None

    def record(self) -> dict[str, Tensor]:
        """Whose turn it was: 1 for modalities that learned, 0 for the others."""
        return {"balance": self._active}


def total_of(predictions: Sequence[Tensor]) -> Tensor | None:
    """Sum of predictions as a constant, None when there are none."""
    return torch.stack([p.detach() for p in predictions]).sum(0) if predictions else None
