"""Scores of single samples: epsilon of eq. 6.

Every score takes (prediction, label) and gives one number per sample, shape (B,), larger is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Dice:
    """Mean Dice over groups of classes, per sample.

    Dice = 2 (overlap + s) / (predicted + true + 2 s) with s = ``smooth``: a group that is empty
    in truth and prediction counts as 1, one predicted where there is none as almost 0.

    Args:
        smooth: s, in pixels.
        soft: count probabilities instead of the most probable class, so that the score already
            moves while a classifier still decides for background everywhere.
        groups: class numbers of each group; every class but the background, 0, when not given.
    """

    def __init__(
        self,
        smooth: float = 1e-3,
        *,
        soft: bool = False,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.smooth, self.soft, self.groups = smooth, soft, groups

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return one score per sample, in (0, 1], shape (B,).

        Args:
            prediction: logits, shape (B, C, ...).
            label: class numbers, shape (B, 1, ...).
        """
        return self.regions(prediction, label).mean(1)

    def regions(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Dice of each sample and group, shape (B, G)."""
        overlap, predicted, true = self.counts(prediction, label).unbind(-1)
        return 2 * (overlap + self.smooth) / (predicted + true + 2 * self.smooth)

    def counts(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels of each sample and group: in both, predicted, true; shape (B, G, 3)."""
        groups = self.groups or [(number,) for number in range(1, prediction.shape[1])]
        if self.soft:
            probabilities = prediction.float().softmax(1)
            parts = [probabilities[:, list(group)].sum(1) for group in groups]
            return soft_counts(torch.stack(parts, 1), label[:, 0], groups)
        return group_counts(most_probable(prediction), label[:, 0], groups)


def most_probable(logits: Tensor) -> Tensor:
    """The class with the largest logit, the first of several, int64: (B, C, ...) to (B, ...).

    The same as ``argmax(1)``, which takes eight times as long on a CPU.
    """
    return logits.max(1).indices


def group_counts(predicted: Tensor, true: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Count pixels of each group of classes: in both, predicted, true.

    Args:
        predicted: class numbers, shape (B, ...).
        true: class numbers of the same shape.
        groups: class numbers of each group.

    Returns:
        float32 counts, shape (B, G, 3).
    """
    other = 1 + max(number for group in groups for number in group)  # all that is in no group
    kinds = other + 1
    p, t = (
        torch.where((c >= 0) & (c < other), c, other).flatten(1).int() for c in (predicted, true)
    )
    pairs = [torch.bincount(row, minlength=kinds**2) for row in p * kinds + t]
    table = torch.stack(pairs).view(-1, kinds, kinds)  # (B, predicted, true)
    counts = []
    for group in map(list, groups):
        rows = table[:, group]
        both, columns = rows[:, :, group], table[:, :, group]
        counts.append(torch.stack([part.sum((1, 2)) for part in (both, rows, columns)], dim=-1))
    return torch.stack(counts, dim=1).float()


def soft_counts(probabilities: Tensor, true: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """The same with probabilities for predicted pixels.

    Args:
        probabilities: of the groups, shape (B, G, ...).
        true: class numbers, shape (B, ...).
        groups: class numbers of each group.

    Returns:
        float32 sums, shape (B, G, 3).
    """
    p, t = probabilities.flatten(2), group_members(true, groups).flatten(2)
    return torch.stack([(p * t).sum(2), p.sum(2), t.sum(2)], dim=-1)


def group_members(classes: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Tell which pixels belong to each group of classes, bool of shape (B, G, ...).

    Args:
        classes: class numbers, shape (B, ...).
        groups: class numbers of each group.

    >>> group_members(torch.tensor([[0, 1, 2]]), [(1, 2), (2,)]).int().tolist()
    [[[0, 1, 1], [0, 0, 1]]]
    """
    numbers = [torch.tensor(list(group), device=classes.device) for group in groups]
    return torch.stack([torch.isin(classes, group) for group in numbers], dim=1)


def accuracy(prediction: Tensor, label: Tensor) -> Tensor:
    """1 where the most probable class is the true one, else 0; the paper's for classification.

    Args:
        prediction: logits, shape (B, C).
        label: class numbers, shape (B,).

    Raises:
        ValueError: there is one class only.
    """
    if prediction.shape[1] < 2:
        raise ValueError(
            f"accuracy compares classes, and the prediction {tuple(prediction.shape)} has one: "
            "give a logit for each class"
        )
    return (prediction.argmax(1) == label).float()


def true_class_probability(prediction: Tensor, label: Tensor) -> Tensor:
    """Probability of the true class, in [0, 1].

    Args:
        prediction: logits, shape (B, C).
        label: class numbers, shape (B,).
    """
    return true_class_log_probability(prediction, label).exp()


def true_class_log_probability(prediction: Tensor, label: Tensor) -> Tensor:
    """Logarithm of the probability of the true class: minus the cross-entropy, at most 0.

    Args:
        prediction: logits, shape (B, C).
        label: class numbers, shape (B,).
    """
    return prediction.float().log_softmax(1).gather(1, label[:, None])[:, 0]


def negative_error(prediction: Tensor, label: Tensor) -> Tensor:
    """Minus the absolute error, at most 0: the paper's MAE, with larger as better.

    Args:
        prediction: values, shape (B, 1) or (B,).
        label: values, shape (B, 1) or (B,).

    Raises:
        ValueError: there is more than one value for a sample.
    """
    value, truth = (_single_values(part) for part in (prediction, label))
    return -(value.float() - truth.float()).abs()


def binary_accuracy(prediction: Tensor, label: Tensor) -> Tensor:
    """1 where prediction and label are both above 0 or both not, else 0.

    What the authors' released code uses in place of MAE; a label of 0 counts as not positive.

    Args:
        prediction: values, shape (B, 1) or (B,).
        label: values, shape (B, 1) or (B,).

    Raises:
        ValueError: there is more than one value for a sample.
    """
    value, truth = (_single_values(part) for part in (prediction, label))
    return ((value > 0) == (truth > 0)).float()


def _single_values(part: Tensor) -> Tensor:
    """As (B,): compared as (B, 1) and (B,), each sample would meet all labels."""
    if part.numel() != len(part):
        raise ValueError(
            f"a regression is scored by one value for a sample, and there are {tuple(part.shape)}: "
            "pass scores= as a function of your own"
        )
    return part.flatten()


Score = Callable[[Tensor, Tensor], Tensor]

# Minus the loss has no name of its own: it is `log_probability` for cross-entropy, `mae` for L1.
SCORES: dict[str, dict[str, Score]] = {
    "classification": {
        "accuracy": accuracy,
        "probability": true_class_probability,
        "log_probability": true_class_log_probability,
    },
    "regression": {"mae": negative_error, "acc2": binary_accuracy},
    "segmentation": {"dice": Dice(), "soft_dice": Dice(soft=True)},
}


def kind_of_score(name: str) -> str:
    """Tell which kind of task a score is for.

    Raises:
        ValueError: there is no such score.
    """
    score_by_name(name)
    return next(kind for kind, scores in SCORES.items() if name in scores)


def score_by_name(name: str, task: str | None = None) -> Score:
    """Give the score that a setting names.

    Args:
        name: accuracy, probability or log_probability for classification, mae or acc2 for
            regression, dice or soft_dice for segmentation: the mean over the classes but the
            background.
        task: "classification", "regression" or "segmentation", to refuse the others' scores.

    Raises:
        ValueError: there is no such score.
    """
    tasks = SCORES if task is None else {task: SCORES[task]}
    scores = {key: score for group in tasks.values() for key, score in group.items()}
    if name not in scores:
        kind = f" for {task}" if task else ""
        raise ValueError(f"there is no score {name!r}{kind}; choose one of {list(scores)}")
    return scores[name]
