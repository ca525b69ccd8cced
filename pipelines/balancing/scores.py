"""Epsilon of eq. 6: how good is a prediction, sample by sample?

Every score takes (prediction, label) and gives one number per sample, shape (B,), larger is better.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...data.brats.conventions import REGION_CLASSES, REGIONS, region_mask
from ...data.errors import InputError


class RegionDice:
    """Mean Dice of WT, TC and ET, per sample.

    Dice = 2 (overlap + s) / (predicted + true + 2 s) with s = ``smooth``: a region that is empty
    in truth and prediction counts as 1, one predicted where there is none as almost 0, the rule
    BraTS used until 2022.

    Args:
        smooth: s, in pixels.
        soft: count probabilities instead of the most probable class, so that the score already
            moves while a classifier still decides for background everywhere.
    """

    def __init__(self, smooth: float = 1e-3, *, soft: bool = False) -> None:
        self.smooth, self.soft = smooth, soft

    def __call__(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return one score per sample, in (0, 1], shape (B,).

        Args:
            prediction: logits of the classes background, NCR, ED, ET; shape (B, 4, H, W).
            label: class numbers, shape (B, 1, H, W).
        """
        return self.regions(prediction, label).mean(1)

    def regions(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Dice of each sample and region, shape (B, 3) in the order WT, TC, ET."""
        if self.soft:
            counts = soft_region_counts(prediction.float().softmax(1), label[:, 0])
        else:
            counts = region_counts(prediction.argmax(1), label[:, 0])
        overlap, predicted, true = counts.unbind(-1)
        return 2 * (overlap + self.smooth) / (predicted + true + 2 * self.smooth)


def region_counts(predicted: Tensor, true: Tensor) -> Tensor:
    """Count pixels of each region: in both, predicted, true.

    Args:
        predicted: class numbers, shape (B, ...).
        true: class numbers of the same shape.

    Returns:
        float32 counts, shape (B, 3 regions, 3).
    """
    counts = []
    for region in REGIONS:
        p = region_mask(predicted, region).flatten(1)
        t = region_mask(true, region).flatten(1)
        counts.append(torch.stack([(p & t).sum(1), p.sum(1), t.sum(1)], dim=-1))
    return torch.stack(counts, dim=1).float()


def soft_region_counts(probabilities: Tensor, true: Tensor) -> Tensor:
    """The same with probabilities for predicted pixels.

    Args:
        probabilities: of the classes, shape (B, 4, ...).
        true: class numbers, shape (B, ...).

    Returns:
        float32 sums, shape (B, 3 regions, 3).
    """
    counts = []
    for region in REGIONS:
        p = probabilities[:, list(REGION_CLASSES[region])].sum(1).flatten(1)
        t = region_mask(true, region).flatten(1)
        counts.append(torch.stack([(p * t).sum(1), p.sum(1), t.sum(1)], dim=-1))
    return torch.stack(counts, dim=1)


def accuracy(prediction: Tensor, label: Tensor) -> Tensor:
    """1 where the most probable class is the true one, else 0; the paper's for classification.

    Args:
        prediction: logits, shape (B, C).
        label: class numbers, shape (B,).
    """
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
        prediction: values, shape (B, 1).
        label: values, shape (B, 1).
    """
    return -(prediction.float() - label.float()).abs()[:, 0]


def binary_accuracy(prediction: Tensor, label: Tensor) -> Tensor:
    """1 where prediction and label are both above 0 or both not, else 0.

    What the authors' released code uses in place of MAE; a label of 0 counts as not positive.

    Args:
        prediction: values, shape (B, 1).
        label: values, shape (B, 1).
    """
    return ((prediction > 0) == (label > 0)).float()[:, 0]


Score = Callable[[Tensor, Tensor], Tensor]

# Minus the loss has no name of its own: it is `log_probability` for cross-entropy, `mae` for L1.
SCORES: dict[str, dict[str, Score]] = {
    "classification": {
        "accuracy": accuracy,
        "probability": true_class_probability,
        "log_probability": true_class_log_probability,
    },
    "regression": {"mae": negative_error, "acc2": binary_accuracy},
    "segmentation": {"dice": RegionDice(), "soft_dice": RegionDice(soft=True)},
}


def score_by_name(name: str, task: str | None = None) -> Score:
    """Give the score that a setting names.

    Args:
        name: accuracy, probability or log_probability for classification, mae or acc2 for
            regression, dice or soft_dice for segmentation of BraTS.
        task: "classification", "regression" or "segmentation", to refuse the others' scores.

    Raises:
        InputError: there is no such score.
    """
    tasks = SCORES if task is None else {task: SCORES[task]}
    scores = {key: score for group in tasks.values() for key, score in group.items()}
    if name not in scores:
        kind = f" for {task}" if task else ""
        raise InputError(f"there is no score {name!r}{kind}; choose one of {list(scores)}")
    return scores[name]
