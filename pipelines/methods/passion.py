"""Preference-aware self-distillation (Shi et al., ACM MM 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..balancing.distributed import summed_over_ranks
from ..balancing.features import batch_size, selected
from ..balancing.judging import having
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_number
from ..balancing.subsets import check_fusion, fused_with_input

FLOOR = 0.005  # least probability in a distillation, as released
ROUNDING = 1e-6  # of a distance, relative to the mean: no preference
LEAST, MOST = 0.1, 4.0  # weights of a modality, as released


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of softened probabilities, per sample, shape (B,).

    The mean over classes and pixels, with no probability below 0.005, as released.

    Args:
        student: logits (B, C, ...), with their graph.
        teacher: of that shape, constants.
        temperature: T, which both are divided by.
    """
    truth, found = (
        (logits / temperature).softmax(1).clamp(min=FLOOR) for logits in (teacher, student)
    )
    return (temperature**2 * truth * (truth.log() - found.log())).flatten(1).mean(1)


def prototype_distances(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """How far apart the similarities to each class's prototype are: squared, and absolute.

    Args:
        student: similarities (B, K, N), and which classes there are (B, K), see
            :meth:`Task.class_similarities`.
        teacher: likewise, of the same label.

    Returns:
        Means over the positions and classes of each sample, (B,) each.
    """
    there = student[1].to(student[0])
    difference = student[0] - teacher[0]
    squared, absolute = difference.square().mean(2), difference.detach().abs().mean(2)
    count = there.sum(1).clamp(min=1)
    return (squared * there).sum(1) / count, (absolute * there).sum(1) / count


def relative_preferences(distances: Tensor, having: Tensor) -> Tensor:
    """1 - d_i / mean d: above 0 for a modality that is closer to the fusion than others are.

    Args:
        distances: d of each modality, shape (..., M).
        having: which of them count, bool, of that shape.

    Returns:
        Of that shape; 0 for those that do not count, and where all distances are 0.

    >>> relative_preferences(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    tensor([ 0.5000, -0.5000,  0.0000])
    """
    counted = torch.where(having, distances, torch.zeros_like(distances))
    mean = counted.sum(-1, keepdim=True) / having.sum(-1, keepdim=True).clamp(min=1)
    useful = having & (mean > 0)
    return torch.where(useful, 1 - counted / mean.clamp_min(1e-30), torch.zeros_like(counted))


def moved_weights(weights: Tensor, preferences: Tensor, rate: float) -> Tensor:
    """beta <- beta - eta rp, kept in [0.1, 4], with norm sqrt(M)."""
    weights = (weights - rate * preferences).clamp(LEAST, MOST)
    return len(weights) ** 0.5 * weights / weights.norm()


def rate_of(eta: float, epoch: int) -> float:
    """eta of an epoch, from 1: released code multiplies it by 1.5 in every hundredth, from the 1st.

    >>> rate_of(0.01, 1), round(rate_of(0.01, 101), 6)
    (0.015, 0.0225)
    """
    return eta * 1.5 ** (1 + (epoch - 1) // 100)


class PASSION(Method):
    """Pull what the fusion says of one modality to what it says of all; most where one lags.

    The fusion is asked about each modality alone. What it then says is pulled to what it says of
    all (self-distillation of the softened predictions, by pixel, and of the similarities to the
    class prototypes before the last layer), and each classifier adds its own loss. How far the
    similarities are from those of all is a distance d_i; rp_i = 1 - d_i / mean d is the relative
    preference. In each batch the classifiers' losses and the prototypes' count only for modalities
    of rp_i < 0 (task-wise); after each epoch the weights beta_i of their losses and distillations
    move by -eta rp_i (gradient-wise). Trained is, over the modalities that a sample has,

        L + sum_i [rp_i < 0] beta_i L_i + kl sum_i beta_i KL_i + proto sum_i [rp_i < 0] P_i

    The paper's setting is training on cases that lack sequences at unequal rates. Its losses are
    sums over samples, times one over how often a modality is there; here each term is the mean over
    the samples of the batch that have the modality, the same in expectation.

    We know the released code (Apache-2.0) and the abstract. There L_i comes from a decoder shared
    by the modalities, here from their classifiers; predictions at several scales are distilled and
    trained too, which networks here do not have. The passes over single modalities and that of the
    teacher are in eval mode here, with undropped features. "Preferred" below rounding is neither.

    Extension of ours: classification, by prototypes of the batch. A regression has no softened
    predictions and is refused.

    Args:
        kl: weight of the distillation of predictions, 0 or larger.
        proto: weight of that of prototypes.
        temperature: T of the distillation, above 0.
        eta: step of the weights beta, times 1.5 from the first epoch on, and every hundred epochs.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = (
        "Shi et al.: PASSION: Towards Effective Incomplete Multi-Modal Medical Image Segmentation "
        "with Imbalanced Missing Rates. ACM MM 2024"
    )
    changes = "loss: single modalities are taught by all, by relative preference"
    published = frozenset({"segmentation"})
    extended = frozenset({"classification"})
    modalities = (2, None)
    published_modalities = 4
    needs_classifiers = True
    attached = True
    needs_head = True
    needs_epochs = True

    def __init__(
        self, kl: float = 0.5, proto: float = 0.1, *, temperature: float = 4.0, eta: float = 0.01
    ) -> None:
        check_number("kl", kl)
        check_number("proto", proto)
        check_number("temperature", temperature, above=0)
        check_number("eta", eta)
        self.kl, self.proto, self.temperature, self.eta = kl, proto, temperature, eta
        self._weights = torch.zeros(0)  # beta
        self._sums = torch.zeros(0)  # of the distances of this epoch, with their numbers: (M, 2)
        self._epoch = 0
        self._distances = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        """Refuse networks whose fusion cannot be asked about one modality."""
        super().prepare(run)
        check_fusion(run, "PASSION")
        count = len(run.modalities)
        if len(self._weights) != count:
            self._weights, self._sums = torch.ones(count), torch.zeros(count, 2)

    def epoch_begins(self, run: Run) -> None:
        """Move the weights by the distances of the last epoch."""
        if run.epoch != self._epoch and bool(self._sums.any()):
            counted = self._sums[:, 1] > 0
            means = self._sums[:, 0] / self._sums[:, 1].clamp(min=1)
            preferences = relative_preferences(means, counted)
            rate = rate_of(self.eta, self._epoch)
            self._weights = moved_weights(self._weights, preferences, rate)
            self._sums = torch.zeros_like(self._sums)
        self._epoch = run.epoch

    def loss(self, step: Step) -> Tensor:
        """The task loss, and what the modalities learn alone."""
        taught, prototypes, distances, counted = self._lessons(step)
        self._remember(distances, counted)
        preferences = relative_preferences(distances, counted).sum(0)
        lagging = (preferences < -ROUNDING).to(taught)
        beta = self._weights.to(taught)
        alone = torch.stack([step.classifier_losses[name] for name in step.modalities])
        terms = lagging * beta * alone + self.kl * beta * taught + self.proto * lagging * prototypes
        return step.task_loss + terms.sum()

    def _lessons(self, step: Step) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Distillations of each modality, (M,) twice; distances and which count, (B, M) twice."""
        with torch.no_grad():
            teacher = fused_with_input(step, step.features, dict.fromkeys(step.modalities, True))
        zero = teacher[1].new_zeros(())
        everyone = torch.ones(batch_size(step.features), dtype=torch.bool, device=zero.device)
        rows = [having(step, name) for name in step.modalities]
        counted = [everyone if here is None else here.to(zero.device) for here in rows]
        taught, prototypes, columns = [], [], []
        for name, here in zip(step.modalities, counted, strict=True):
            kl, proto, column = zero, zero, zero.expand(len(here))
            if bool(here.any()):
                kl, proto, distance = self._lesson(step, name, teacher, here)
                column = column.masked_scatter(here, distance.to(column.dtype))
            taught.append(kl)
            prototypes.append(proto)
            columns.append(column)
        distances, there = torch.stack(columns, 1), torch.stack(counted, 1)
        return torch.stack(taught), torch.stack(prototypes), distances, there

    def _lesson(
        self, step: Step, name: str, teacher: tuple[Tensor, Tensor], rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Distillations of the samples that have a modality, two scalars, and their distances."""
        features = {other: selected(f, rows) for other, f in step.features.items()}
        label, (answer, guide) = step.label[rows], (part[rows] for part in teacher)
        present = {other: other == name for other in step.modalities}
        prediction, vectors = fused_with_input(step, features, present)
        student, truth = (step.task.choices(p, label)[0] for p in (prediction, answer))
        squared, absolute = prototype_distances(
            step.task.class_similarities(vectors, label),
            step.task.class_similarities(guide, label),
        )
        return distillation(student, truth, self.temperature).mean(), squared.mean(), absolute

    def _remember(self, distances: Tensor, counted: Tensor) -> None:
        sums = summed_over_ranks(torch.stack([distances.sum(0), counted.sum(0).to(distances)], 1))
        self._sums = self._sums + sums.detach().float().cpu()
        self._distances = (sums[:, 0] / sums[:, 1].clamp(min=1)).detach()

    def record(self) -> dict[str, Tensor]:
        """Weight beta of each modality, and its distance to the fusion in the last micro-batch."""
        return {"balance": self._weights, "distance": self._distances}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights, "sums": self._sums, "epoch": self._epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._weights, self._sums = state["weights"], state["sums"]
        self._epoch = int(state["epoch"])
