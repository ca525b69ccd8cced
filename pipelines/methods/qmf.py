"""Quality-aware multimodal fusion (Zhang et al., ICML 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from ..balancing.distributed import is_distributed
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_choice, check_number

Margin = Literal["paper", "released"]


def confidence(prediction: Tensor, temperature: float = 10.0) -> Tensor:
    """How sure a prediction is of itself: minus the energy of its logits over the temperature.

    Args:
        prediction: logits (B, C, ...).
        temperature: released is 10.

    Returns:
        Shape (B, ...); the weight of this prediction in the fused one.

    >>> confidence(torch.tensor([[10.0, -100.0]]))
    tensor([1.])
    """
    return torch.logsumexp(prediction.float(), dim=1) / temperature


def foreground(values: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the pixels that are not background, and which images have any; an extension.

    Args:
        values: shape (B, H, W).
        classes: of the truth, 0 is the background, same shape.

    Returns:
        Means, 0 for an image of background alone, and whether there is a mean; shape (B,) each.

    >>> foreground(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[0, 1, 3]]]))
    (tensor([3.]), tensor([True]))
    """
    here = (classes > 0).flatten(1).to(values)
    count = here.sum(1)
    return (values.flatten(1) * here).sum(1) / count.clamp(min=1), count > 0


def normalized(history: Tensor) -> Tensor:
    """Bring past losses to [0, 1] over all samples; 0 for all that do not differ.

    Args:
        history: a loss per sample and modality, shape (N, M) or (N,).

    >>> normalized(torch.tensor([1.0, 3.0, 2.0]))
    tensor([0.0000, 1.0000, 0.5000])
    """
    if len(history) == 0:
        return history
    low, high = history.amin(0), history.amax(0)
    span = high - low
    return torch.where(span > 0, (history - low) / span.clamp(min=1e-12), torch.zeros_like(history))


def ranking_loss(
    history: Tensor,
    confidence: Tensor,
    *,
    margin: Margin = "paper",
    counts: Tensor | None = None,
) -> Tensor:
    """R: of two samples, the one with the larger past loss is to be the less confident one.

    Each sample is paired with the next in the batch, the last with the first.

    Args:
        history: normalized past losses kappa, shape (B,); constants.
        confidence: w, shape (B,), with its graph.
        margin: "paper" asks for a difference of at least that of the histories, "released" allows
            one of at most that.
        counts: which samples take part, bool, shape (B,); all when not given.

    Returns:
        The mean over the pairs, a scalar, never negative.

    >>> ranking_loss(torch.tensor([1.0, 0.5]), torch.tensor([0.5, 0.25]))
    tensor(0.7500)
    """
    difference = (history - history.roll(-1)).to(confidence)
    sign = 1.0 if margin == "paper" else -1.0
    gap = difference.sign() * (confidence - confidence.roll(-1)) + sign * difference.abs()
    wrong = torch.where(difference == 0, torch.zeros_like(gap), gap.relu())
    if counts is None:
        return wrong.mean()
    pairs = counts & counts.roll(-1)
    return torch.where(pairs, wrong, torch.zeros_like(wrong)).sum() / pairs.sum().clamp(min=1)


class History:
    """The mean loss of each sample in a training so far, by modality.

    >>> history = History()
    >>> history.update(["a", "b"], torch.tensor([[1.0], [3.0]]))
    >>> history.update(["a"], torch.tensor([[2.0]]))
    >>> history.of(["b", "a"])
    tensor([[1.],
            [0.]])
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._sums = torch.zeros(0, 0)
        self._counts = torch.zeros(0, 0)

    def update(self, ids: Sequence[str], losses: Tensor) -> None:
        """Take in losses of shape (B, M); those that are not finite are left out."""
        losses = losses.detach().float().cpu()
        for name in ids:
            self._rows.setdefault(name, len(self._rows))
        missing = len(self._rows) - len(self._sums)
        if missing:
            more = torch.zeros(missing, losses.shape[1])
            self._sums = torch.cat([self._sums.view(-1, losses.shape[1]), more])
            self._counts = torch.cat([self._counts.view(-1, losses.shape[1]), more])
        rows = torch.tensor([self._rows[name] for name in ids])
        finite = losses.isfinite()
        self._sums.index_add_(0, rows, torch.where(finite, losses, torch.zeros_like(losses)))
        self._counts.index_add_(0, rows, finite.float())

    def of(self, ids: Sequence[str]) -> Tensor:
        """Kappa of known samples, in [0, 1], shape (B, M)."""
        rows = torch.tensor([self._rows[name] for name in ids])
        return normalized(self._sums / self._counts.clamp(min=1))[rows]

    def state_dict(self) -> dict[str, Any]:
        return {"ids": list(self._rows), "sums": self._sums.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rows = {name: row for row, name in enumerate(state["ids"])}
        self._sums, self._counts = state["sums"].cpu().clone(), state["counts"].cpu().clone()


class QMF(Method):
    """Fuse the predictions of single modalities, each weighted by how sure it is of itself.

    Every modality has a network of its own. Their logits are added up with the weights
    w_i = logsumexp(logits_i) / 10, which are negative where all logits are. Trained is
    L(fused) + sum L_i + lam sum R_i, where the ranking loss R_i keeps a network from being sure
    about samples that it found hard so far: kappa is the mean loss of a sample until now, brought
    to [0, 1] over all samples. A batch has to tell the ids of its samples.

    Paper and released code: the released ranking loss has the margin |kappa_n - kappa_m| on the
    other side of the inequality than correctness ranking loss, on which the paper builds, so that
    it is a slack; ``margin="released"`` does that. Released code sums up losses, we take their mean
    (the same once every sample was seen equally often). Its text-image version adds the current
    loss to the history before R, as we do, and takes no gradient through the weights of the fusion,
    as our network; its RGB-D version does both the other way round. Its first batch divides 0 by 0
    there; a history without differences is 0 here and R is 0. With several processes the history
    is that of all; pairs are formed in each process.

    Extensions of ours: segmentation, where the fusion weighs each pixel, the history is that of a
    case, and R compares the mean confidence in the foreground of two slices. A regression has no
    energy and is refused.

    Args:
        lam: weight of the ranking losses; released are 1 (text and image, SUN) and 0.1 (NYUD).
        margin: "paper" or "released".

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Zhang et al.: Provable Dynamic Fusion for Low-Quality Multimodal Data. ICML 2023"
    changes = "late fusion by confidence, ranking loss"
    extended = frozenset({"segmentation"})
    published_modalities = 2
    late_fusion = "confidence"

    def __init__(self, lam: float = 1.0, *, margin: Margin = "paper") -> None:
        check_number("lam", lam)
        check_choice("margin", margin, get_args(Margin))
        self.lam = lam
        self.margin: Margin = margin
        self._history = History()
        self._confidence = torch.zeros(0)
        self._ranking = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        """Refuse regressions, and networks that are no late fusion."""
        super().prepare(run)
        if not hasattr(run.network, "members"):
            raise ValueError(
                f"QMF fuses the predictions of single modalities, and {type(run.network).__name__} "
                "has no `members` that give them: build a cggm.models.LateFusion with the rule "
                "'confidence'"
            )

    def loss(self, step: Step) -> Tensor:
        """The task loss of the fused and of each single prediction, and the ranking losses."""
        ids = self._ids(step)
        predictions = [step.predictions[name] for name in step.modalities]
        total = step.task_loss
        for prediction in predictions:
            total = total + step.task.loss(prediction, step.label).mean()
        with torch.no_grad():
            losses = [step.task.sample_losses(p.float(), step.label) for p in predictions]
            table = torch.stack(losses, dim=1).as_subclass(Tensor)
        self._history.update(*of_all_ranks(ids, table))
        past = self._history.of(ids).to(step.task_loss.device)
        temperature = float(getattr(step.run.network, "temperature", 10.0))
        sure, ranking = [], []
        for column, prediction in zip(past.T, predictions, strict=True):
            weight, counts = confidence(prediction, temperature), None
            if weight.ndim > 1:
                weight, counts = foreground(weight, step.task.classes(step.label))
            sure.append(weight.detach().mean())
            ranking.append(ranking_loss(column, weight, margin=self.margin, counts=counts))
        self._confidence = torch.stack(sure).as_subclass(Tensor)
        self._ranking = torch.stack(ranking).detach().as_subclass(Tensor)
        return total + self.lam * sum(ranking[1:], ranking[0])

    def _ids(self, step: Step) -> list[str]:
        count = step.label.shape[0]
        if step.ids is None or len(step.ids) != count:
            number = "none" if step.ids is None else str(len(step.ids))
            raise ValueError(
                f"QMF remembers the losses of each sample, but a batch of {count} has "
                f"{number} of their ids: let the data set give every sample an 'id' (or a 'case')"
            )
        return step.ids

    def record(self) -> dict[str, Tensor]:
        """Mean confidence and ranking loss of the last step."""
        return {"confidence": self._confidence, "ranking": self._ranking}

    def state_dict(self) -> dict[str, Any]:
        return self._history.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._history.load_state_dict(state)


def of_all_ranks(ids: Sequence[str], losses: Tensor) -> tuple[list[str], Tensor]:
    """Put the samples of all processes together, in the order of the processes."""
    if not is_distributed():
        return list(ids), losses
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, (list(ids), losses.detach().float().cpu()))
    names = [name for part, _ in parts for name in part]
    return names, torch.cat([part for _, part in parts])
