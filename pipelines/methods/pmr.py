"""Prototypical modal rebalance (Fan et al., CVPR 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from ..balancing.batches import batches_of, training_data
from ..balancing.distributed import is_distributed, summed_over_ranks
from ..balancing.held_out import labeled_vectors
from ..balancing.method import Method, Run, Step
from ..balancing.randomness import undisturbed
from ..balancing.settings import check_choice, check_epochs, check_number, check_whole

Rule = Literal["paper", "released"]

MOST_BINS = 100  # classes that a regression's labels may be rounded to


def prototype_log_probabilities(vectors: Tensor, prototypes: Tensor) -> Tensor:
    """log p(k) = log softmax of minus the Euclidean distance (Fan et al., eq. 6), shape (N, K).

    Args:
        vectors: features, shape (N, D).
        prototypes: one per class, shape (K, D).

    >>> prototype_log_probabilities(torch.zeros(1, 1), torch.tensor([[1.0], [1.0]])).exp()
    tensor([[0.5000, 0.5000]])
    """
    # Not by matrix products: small distances would lose their digits.
    exact = "donot_use_mm_for_euclid_dist"
    return (-torch.cdist(vectors, prototypes, compute_mode=exact)).log_softmax(1)


def coefficients(scores: Tensor, rule: Rule = "paper") -> tuple[Tensor, Tensor]:
    """How much to push a modality to its prototypes, and to keep its entropy up.

    With two modalities these are beta and gamma of Fan et al., eqs. 9 to 11: a modality behind
    the other is pushed, one ahead of it is calmed, each by its distance in the ratio rho, at most
    1. With more, each is compared with the mean of the others.

    Args:
        scores: mean probability that the prototypes give to the truth, shape (M,).
        rule: "released" pushes by 1 as soon as rho < 1, and calms nothing.

    Returns:
        Two tensors of shape (M,), both in [0, 1].

    >>> coefficients(torch.tensor([0.4, 0.5]))
    (tensor([0.2500, 0.0000]), tensor([0.0000, 0.2500]))
    """
    others = (scores.sum() - scores) / max(len(scores) - 1, 1)
    # Zero for both says nothing of either: 0 / 0 is 1 here.
    ahead = ((scores + 1e-12) / (others + 1e-12)).nan_to_num(1.0)
    if rule == "released":
        return (ahead < 1).to(scores), torch.zeros_like(scores)
    return (1 / ahead - 1).clamp(0, 1), (ahead - 1).clamp(0, 1)


def moved(old: Tensor | None, sums: Tensor, counts: Tensor, momentum: float) -> Tensor:
    """New prototypes, c = momentum c_old + (1 - momentum) c_new (section 3.2); NaN where unknown.

    Args:
        old: (K, D), NaN where a class has none yet; None in the beginning.
        sums: of the features of each class, (K', D).
        counts: how many they are, (K',); a class without any keeps its old prototype.
        momentum: share of the old one.
    """
    fresh = sums / counts[:, None]  # 0 / 0 is NaN: unknown
    if old is None:
        return fresh
    known, missing = old.to(fresh), len(old) - len(fresh)
    known = torch.cat([known, known.new_full((max(-missing, 0), known.shape[1]), math.nan)])
    fresh = torch.cat([fresh, fresh.new_full((max(missing, 0), known.shape[1]), math.nan)])
    mixed = torch.lerp(fresh, known, momentum)
    return torch.where(mixed.isnan(), torch.where(fresh.isnan(), known, fresh), mixed)


class PMR(Method):
    """Pull a slow modality's features to the prototypes of their classes.

    L + alpha sum_i beta_i L_pce_i - mu sum_i gamma_i H(p_i), the last in the first epochs only
    (Fan et al., eqs. 8 to 12): p_i is a softmax over minus the distances to the prototypes, beta_i
    is above 0 for a modality behind the others and gamma_i for one ahead of them. Prototypes are
    means of a class over a share of the training data, taken in eval mode when an epoch begins.
    The untrained encoders' prototypes serve the first epoch only, as released; those of the second
    are taken anew, and from the third on a share of the old ones is kept.

    Extensions of ours: more than two modalities are compared with the mean of the others; a
    regression has a class for each whole number of the label; a segmentation has a vector for each
    class in each image, the mean of the high-level features over the pixels of the class. What an
    absent modality would give (zeros) takes no part, nor does a class that has no prototype yet.

    The released code sets beta to 0 or 1 (``rule="released"``), has no entropy term, takes the
    prototypes of two data sets from validation or test data, and gives NaN for a class that the
    sample lacks. How long the entropy term lasts is our choice.

    Args:
        alpha: weight of the prototype loss; 1 or 2 in the paper.
        mu: weight of the entropy; 0.01 or 0.001 in the paper.
        momentum: xi, share of the old prototypes, in [0, 1); 0.2 in the released code, 0 in its
            commands.
        regularized_epochs: E_r, how many epochs have the entropy term.
        share: of the training data, for the prototypes of an epoch; 1/10 in the paper.
        last_epoch: the last with prototypes, what follows is joint training; to the end when not
            given. Released: 101 of 150 epochs.
        rule: "paper" or "released".
        seed: of the draw of this share.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Fan et al.: PMR: Prototypical Modal Rebalance for Multimodal Learning. CVPR 2023"
    changes = "loss: distance to prototypes, early entropy"
    modalities = (2, None)
    needs_batches = True
    published_modalities = 2

    def __init__(
        self,
        alpha: float = 1.0,
        mu: float = 0.01,
        *,
        momentum: float = 0.2,
        regularized_epochs: int = 5,
        share: float = 0.1,
        last_epoch: int | None = None,
        rule: Rule = "paper",
        seed: int = 0,
    ) -> None:
        check_number("alpha", alpha)
        check_number("mu", mu)
        check_number("momentum", momentum, 0.999)
        check_whole("regularized_epochs", regularized_epochs, 0)
        check_number("share", share, 1, above=0)
        check_epochs(1, last_epoch)
        check_choice("rule", rule, get_args(Rule))
        check_whole("seed", seed, 0)
        self.alpha, self.mu, self.momentum = alpha, mu, momentum
        self.regularized_epochs, self.share = regularized_epochs, share
        self.last_epoch = last_epoch
        self.rule: Rule = rule
        self.seed = seed
        self._prototypes: dict[str, Tensor] = {}  # (K, D), NaN where unknown
        self._span: Tensor | None = None  # smallest and largest label of a regression, (2, 1)
        self._push = self._scores = torch.zeros(0)

    def epoch_begins(self, run: Run) -> None:
        """Take the prototypes of this epoch."""
        if self._over(run):
            return
        seed = self.seed + 1009 * run.epoch
        total = len(training_data(run))
        draws = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = draws[: max(1, math.ceil(self.share * total))]
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)
        with undisturbed(run, seed):
            table = labeled_vectors(run, batches_of(run, chosen[rank::ranks]))
        marks = [column.to(run.device) for _, column, _ in table.values() if len(column)]
        if self._span is None:
            self._span = self._common_span(run, marks)
        numbers = [run.task.classes_of(x, self._span).max().item() for x in marks]
        classes = int(max(largest(numbers, run.device), -1)) + 1
        for name in run.modalities:
            vectors, labels, _ = table.get(name, (torch.zeros(0, 0), torch.zeros(0, 1), []))
            width = int(largest([vectors.shape[1]], run.device))
            sums = torch.zeros(classes, width + 1, dtype=torch.float64, device=run.device)
            if len(vectors):
                ones = torch.cat([vectors, torch.ones_like(vectors[:, :1])], dim=1)
                numbered = run.task.classes_of(labels.to(run.device), self._span)
                sums.index_add_(0, numbered, ones.double().to(run.device))
            sums = summed_over_ranks(sums).float()
            old = self._prototypes.get(name) if run.epoch > 2 else None
            self._prototypes[name] = moved(old, sums[:, :-1], sums[:, -1], self.momentum)

    def _over(self, run: Run) -> bool:
        return self.last_epoch is not None and run.epoch > self.last_epoch

    def _common_span(self, run: Run, marks: list[Tensor]) -> Tensor | None:
        """Smallest and largest label on all ranks, (2, 1); None where labels are classes."""
        spans = [span for x in marks if (span := run.task.span(x)) is not None]
        high = largest([float(span[1]) for span in spans], run.device)
        low = -largest([-float(span[0]) for span in spans], run.device)
        if low > high:
            return None
        span = torch.tensor([[low], [high]])
        check_bins(int(run.task.classes_of(span, span).max()) + 1, low, high)
        return span

    def loss(self, step: Step) -> Tensor:
        """Task loss, prototype loss and, early on, minus the entropy."""
        if self._over(step.run):
            self._push = self._scores = torch.zeros(len(step.modalities))
            return step.task_loss
        sums, terms = [], []
        for name in step.modalities:
            log_p, target = self._judge(step, name)
            truth = log_p.detach().gather(1, target[:, None]).exp()
            sums.append(torch.stack([truth.sum(), truth.new_tensor(float(len(target)))]))
            # Sums over the samples that take part: without any, 0 and not NaN.
            push = -log_p.gather(1, target[:, None]).sum() / max(len(target), 1)
            entropy = -(log_p.exp() * log_p).sum() / max(len(target), 1)
            terms.append((push, entropy))
        total = summed_over_ranks(torch.stack(sums))
        here = total[:, 1] > 0
        self._scores = total[:, 0] / total[:, 1].clamp(min=1)
        self._push, calm = torch.zeros_like(self._scores), torch.zeros_like(self._scores)
        if int(here.sum()) > 1:
            self._push[here], calm[here] = coefficients(self._scores[here], self.rule)
        loss = step.task_loss + self.alpha * sum(
            beta * push for beta, (push, _) in zip(self._push, terms, strict=True)
        )
        if step.run.epoch <= self.regularized_epochs:
            loss = loss - self.mu * sum(g * h for g, (_, h) in zip(calm, terms, strict=True))
        return loss

    def _judge(self, step: Step, name: str) -> tuple[Tensor, Tensor]:
        """log p of the samples whose class has a prototype, and which column is the truth."""
        vectors, _, marks = step.task.class_vectors(step.features[name], step.label)
        prototypes = self._prototypes[name].to(vectors)
        known = ~prototypes.isnan().any(1)
        if not bool(known.any()):
            return vectors[:0, :1], marks.flatten()[:0].long()
        classes = step.task.classes_of(marks, self._span)
        fits = classes < len(known)
        fits &= known[classes.clamp(max=len(known) - 1)]
        column = known.cumsum(0) - 1
        log_p = prototype_log_probabilities(vectors[fits], prototypes[known])
        return log_p, column[classes[fits]]

    def record(self) -> dict[str, Tensor]:
        """beta of each modality, and the mean probability that its prototypes give to the truth."""
        return {"balance": self._push, "prototype_score": self._scores}

    def state_dict(self) -> dict[str, Any]:
        return {"prototypes": dict(self._prototypes), "span": self._span}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._prototypes, self._span = dict(state["prototypes"]), state["span"]


def largest(values: Iterable[float], device: torch.device) -> float:
    """The largest number on all ranks; minus infinity where there is none."""
    mine = max(values, default=-math.inf)
    if not is_distributed():
        return mine
    table = torch.zeros(dist.get_world_size(), device=device)
    table[dist.get_rank()] = mine
    return float(summed_over_ranks(table).max())


def check_bins(bins: int, low: float, high: float) -> None:
    """Refuse labels of a regression that would make too many classes."""
    if bins > MOST_BINS:
        raise ValueError(
            f"PMR makes a class of every whole number of the label, here {bins} of them from "
            f"{low:g} to {high:g}; scale the labels to at most {MOST_BINS}"
        )
