"""Figures of predicted classes and predicted values over a whole set of samples.

The formulas take any number of sets at once, since intervals need those of a thousand resamples.
Undefined figures are NaN; if any prediction is NaN or infinite, all figures are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
from sklearn.metrics import confusion_matrix

LOWER_IS_BETTER = frozenset({"mae"})
# Not shares of samples, so never written in percent.
PLAIN = frozenset({"mae", "corr"})

WHAT = {
    "accuracy": "share of samples whose most probable class is the true one",
    "accuracy_balanced": "mean over the classes of the share of their samples that were recognized",
    "f1_weighted": "mean of the classes' F1, weighted by the number of their samples",
    "f1_macro": "mean of the classes' F1, each class counting the same",
    "mae": "mean absolute error, in units of the label",
    "corr": "Pearson's correlation of prediction and label",
    "acc2_negative_nonnegative": "share with the right side: below 0, or 0 and above",
    "f1_negative_nonnegative": "weighted F1 of these two sides",
    "acc2_negative_positive": "share with the right side, samples with a label of 0 left out",
    "f1_negative_positive": "weighted F1 of these two sides, labels of 0 left out",
    "acc2_nonpositive_positive": (
        "share with the right side: 0 and below, or above 0, as in the paper's released code"
    ),
    "f1_nonpositive_positive": "weighted F1 of these two sides",
}


def comparison(name: str) -> Callable[[float, float], bool]:
    """Give the function that says whether a key metric is better than the best so far.

    MONAI's evaluators take it as ``metric_cmp_fn``; their default keeps the worst network for an
    error.

    Args:
        name: of the metric; all but :data:`LOWER_IS_BETTER` are better when larger.
    """
    return operator.lt if name in LOWER_IS_BETTER else operator.gt


def what_is(figure: str) -> str:
    """Explain a figure in a sentence."""
    if figure in WHAT:
        return WHAT[figure]
    return f"share of samples with the right one of {figure.removeprefix('acc')} rounded values"


def classification_figures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and F1.

    Args:
        probabilities: of the classes, shape (N, C).
        labels: class numbers, shape (N,).

    Returns:
        accuracy, accuracy_balanced, f1_weighted and f1_macro, in [0, 1].
    """
    figures = figures_of_confusion(confusion(probabilities, labels))
    fine = bool(np.isfinite(probabilities).all())
    return {name: float(value) if fine else np.nan for name, value in figures.items()}


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count samples by true class (rows) and most probable class (columns), shape (C, C)."""
    count = probabilities.shape[1]
    if len(labels) == 0:
        return np.zeros((count, count), np.int64)
    return confusion_matrix(labels, probabilities.argmax(1), labels=np.arange(count))


def figures_of_confusion(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of :func:`classification_figures`, each of shape (...), from counts (..., C, C)."""
    true, right = counts.sum(-1), counts.diagonal(axis1=-2, axis2=-1)
    f1 = f1_by_class(counts)
    return {
        "accuracy": _ratio(right.sum(-1), true.sum(-1)),
        "accuracy_balanced": _mean_where(_ratio(right, true), true > 0),
        "f1_weighted": _ratio(np.nansum(f1 * true, axis=-1), true.sum(-1)),
        "f1_macro": _mean_where(f1, ~np.isnan(f1)),
    }


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, NaN for one that is neither there nor predicted.

    Args:
        counts: as of :func:`confusion`, shape (..., C, C).

    Returns:
        Shape (..., C).
    """
    right = counts.diagonal(axis1=-2, axis2=-1)
    return _ratio(2 * right, counts.sum(-1) + counts.sum(-2))


def regression_figures(
    values: np.ndarray, labels: np.ndarray, *, limits: tuple[float, float] | None = (-3, 3)
) -> dict[str, float]:
    """Errors of values, and how often their sign is right, as in the sentiment literature.

    Acc-2 and F1 come in three conventions that papers mix: negative against non-negative, negative
    against positive without labels of 0, and non-positive against positive, which the released
    code of the CGGM paper has. All F1 are weighted by the true counts; that code weighs by the
    predicted ones.

    Args:
        values: predictions, shape (N,).
        labels: shape (N,).
        limits: whole numbers to which both are clipped before they are rounded to classes: (-3, 3)
            for Acc-7. None leaves it out, for labels whose range has no such classes.

    Returns:
        mae, corr, acc7 (named after the number of classes) and pairs of acc2 and f1.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels, np.float64)
    fine = bool(np.isfinite(values).all())
    figures = figures_of_values(values if fine else labels, labels, limits=limits)
    return {name: float(value) if fine else np.nan for name, value in figures.items()}


def figures_of_values(
    values: np.ndarray, labels: np.ndarray, *, limits: tuple[float, float] | None
) -> dict[str, np.ndarray]:
    """Figures of :func:`regression_figures`, each of shape (...), from float64 of (..., N)."""
    count = np.asarray(values.shape[-1])
    figures = {
        "mae": _ratio(np.abs(values - labels).sum(-1), count),
        "corr": correlation(values, labels),
    }
    if limits is not None:
        classes = round(limits[1] - limits[0]) + 1
        same = np.round(values.clip(*limits)) == np.round(labels.clip(*limits))
        figures[f"acc{classes}"] = _ratio(same.sum(-1), count)
    sides = {
        "negative_nonnegative": (values >= 0, labels >= 0, np.isfinite(labels)),
        "negative_positive": (values > 0, labels > 0, labels != 0),
        "nonpositive_positive": (values > 0, labels > 0, np.isfinite(labels)),
    }
    for name, (predicted, true, counted) in sides.items():
        binary = figures_of_confusion(_binary_confusion(predicted, true, counted))
        figures[f"acc2_{name}"] = binary["accuracy"]
        figures[f"f1_{name}"] = binary["f1_weighted"]
    return figures


def correlation(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; NaN where either does not vary."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    x = values - values.mean(-1, keepdims=True)
    y = labels - labels.mean(-1, keepdims=True)
    # By the spread, not by the variance: that of equal numbers is not always rounded to 0.
    varies = (np.ptp(values, axis=-1) > 0) & (np.ptp(labels, axis=-1) > 0)
    size = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    return _ratio((x * y).sum(-1), np.where(varies, size, 0)).clip(-1, 1)


def _binary_confusion(predicted: np.ndarray, true: np.ndarray, counted: np.ndarray) -> np.ndarray:
    cells = [(true == t) & (predicted == p) & counted for t in (False, True) for p in (False, True)]
    counts = np.stack([cell.sum(-1) for cell in cells], axis=-1)
    return counts.reshape(*counts.shape[:-1], 2, 2)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole == 0, np.nan, part / whole)


def _mean_where(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return _ratio(np.where(counted, values, 0).sum(-1), counted.sum(-1))
