"""Figures of classes and values against scikit-learn, SciPy and cases done by hand."""

import math
import operator
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from cggm.pipelines.evaluation.intervals import classification_intervals, regression_intervals
from cggm.pipelines.evaluation.outcomes import (
    LOWER_IS_BETTER,
    WHAT,
    classification_figures,
    comparison,
    confusion,
    f1_by_class,
    regression_figures,
    what_is,
)


def classes(samples: int = 200, count: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right more often than not, of classes that differ in size."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(count, size=samples, p=np.arange(1, count + 1) / sum(range(count + 1)))
    probabilities = rng.dirichlet(np.ones(count), size=samples)
    probabilities[np.arange(samples), labels] += 0.3
    return probabilities / probabilities.sum(1, keepdims=True), labels


def values(samples: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels as of MOSI: from -3 to 3 in steps of 0.2, some of them 0."""
    rng = np.random.default_rng(seed)
    labels = np.round(rng.normal(scale=1.5, size=samples).clip(-3, 3) * 5) / 5
    return 0.7 * labels + rng.normal(scale=0.8, size=samples), labels


def test_classes_equal_scikit_learn() -> None:
    probabilities, labels = classes()
    predicted = probabilities.argmax(1)
    assert classification_figures(probabilities, labels) == pytest.approx(
        {
            "accuracy": accuracy_score(labels, predicted),
            "accuracy_balanced": balanced_accuracy_score(labels, predicted),
            "f1_weighted": f1_score(labels, predicted, average="weighted"),
            "f1_macro": f1_score(labels, predicted, average="macro"),
        }
    )
    expected = f1_score(labels, predicted, average=None)
    np.testing.assert_allclose(f1_by_class(confusion(probabilities, labels)), expected)


def test_classes_by_hand() -> None:
    """Class 2 is neither there nor predicted, class 3 only predicted."""
    probabilities = np.eye(4)[[0, 0, 1, 3]]
    figures = classification_figures(probabilities, np.array([0, 0, 0, 1]))
    assert figures == pytest.approx(
        {
            "accuracy": 0.5,
            "accuracy_balanced": (2 / 3 + 0) / 2,
            "f1_weighted": 0.75 * 0.8,  # precision 1, recall 2/3
            "f1_macro": 0.8 / 3,
        }
    )
    by_class = f1_by_class(confusion(probabilities, np.array([0, 0, 0, 1])))
    np.testing.assert_allclose(by_class, [0.8, 0, np.nan, 0])


def test_values_equal_scipy_and_scikit_learn() -> None:
    predicted, labels = values()
    kept = labels != 0
    assert kept.sum() < len(labels)
    sides = {
        "negative_nonnegative": (labels >= 0, predicted >= 0),
        "negative_positive": (labels[kept] > 0, predicted[kept] > 0),
        "nonpositive_positive": (labels > 0, predicted > 0),
    }
    expected = {
        "mae": np.abs(predicted - labels).mean(),
        "corr": stats.pearsonr(predicted, labels)[0],
        "acc7": np.mean(np.round(predicted.clip(-3, 3)) == np.round(labels)),
    }
    for name, pair in sides.items():
        expected[f"acc2_{name}"] = accuracy_score(*pair)
        expected[f"f1_{name}"] = f1_score(*pair, average="weighted")
    figures = regression_figures(predicted, labels)
    assert figures == pytest.approx(expected)
    assert len({figures[f"acc2_{name}"] for name in sides}) == 3


def test_values_by_hand() -> None:
    predicted = np.array([4.2, -0.2, 0.1, -1.0])
    labels = np.array([3.0, 0.0, -1.0, -1.4])
    figures = regression_figures(predicted, labels)
    assert figures["mae"] == pytest.approx((1.2 + 0.2 + 1.1 + 0.4) / 4)
    assert figures["acc7"] == 0.75  # clipped 3, 0 and 0, 0 but -1, both -1
    assert figures["acc2_negative_nonnegative"] == 0.5
    assert figures["acc2_negative_positive"] == pytest.approx(2 / 3)
    assert figures["acc2_nonpositive_positive"] == 0.75


def test_classes_of_values_follow_the_limits() -> None:
    predicted, labels = values()
    five = regression_figures(predicted, labels, limits=(-2, 2))["acc5"]
    assert five >= regression_figures(predicted, labels)["acc7"]
    assert not any(
        name.startswith(("acc3", "acc5", "acc7"))
        for name in regression_figures(predicted, labels, limits=None)
    )


@pytest.mark.parametrize("seed", range(3))
def test_order_of_samples_changes_nothing(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(200)
    probabilities, labels = classes(seed=seed)
    shuffled = classification_figures(probabilities[order], labels[order])
    assert shuffled == pytest.approx(classification_figures(probabilities, labels))
    predicted, truth = values(200, seed)
    shuffled = regression_figures(predicted[order], truth[order])
    assert shuffled == pytest.approx(regression_figures(predicted, truth))


def test_names_of_classes_change_nothing() -> None:
    probabilities, labels = classes()
    renamed = np.array([3, 0, 4, 1, 2])  # old number to new
    figures = classification_figures(probabilities[:, np.argsort(renamed)], renamed[labels])
    assert figures == pytest.approx(classification_figures(probabilities, labels))


def test_undefined_figures_are_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = regression_figures(np.full(5, 0.1), np.array([1.0, 2.0, 0.0, -1.0, 3.0]))
        zeros = regression_figures(np.arange(3.0), np.zeros(3))
        single = regression_figures(np.ones(1), np.ones(1))
        none = regression_figures(np.zeros(0), np.zeros(0))
        no_classes = classification_figures(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert math.isnan(constant["corr"]) and constant["mae"] == pytest.approx(1.38)
    assert math.isnan(zeros["acc2_negative_positive"]) and zeros["acc2_negative_nonnegative"] == 1
    assert math.isnan(single["corr"]) and single["mae"] == 0
    assert all(math.isnan(value) for value in [*none.values(), *no_classes.values()])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_spoils_every_figure(bad: float) -> None:
    """NaN has a largest entry too, which would pass for a prediction of class 0."""
    probabilities, labels = classes()
    predicted, truth = values()
    probabilities[3] = predicted[3] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_classes = classification_figures(probabilities, labels)
        of_values = regression_figures(predicted, truth)
    assert all(math.isnan(value) for value in [*of_classes.values(), *of_values.values()])


def test_lower_is_better_for_errors_only() -> None:
    assert comparison("mae") is operator.lt
    for name in ("accuracy", "corr", "f1/macro", "dice/mean"):
        assert comparison(name) is operator.gt
    figures = regression_figures(*values())
    assert figures.keys() >= LOWER_IS_BETTER
    perfect = regression_figures(values()[1], values()[1])
    for name, value in figures.items():
        assert comparison(name)(perfect[name], value), name


def test_every_figure_is_explained() -> None:
    names = classification_figures(*classes()).keys() | regression_figures(*values()).keys()
    assert names - WHAT.keys() == {"acc7"}
    assert what_is("acc7") == "share of samples with the right one of 7 rounded values"


def test_intervals_of_classes_equal_those_of_resampled_samples() -> None:
    probabilities, labels = classes(60)
    right = (probabilities.argmax(1) == labels).astype(float)
    reference = stats.bootstrap((right,), np.mean, method="percentile", rng=0).confidence_interval
    intervals = classification_intervals(probabilities, labels)
    assert intervals["accuracy"] == pytest.approx(tuple(reference), abs=0.02)
    for name, value in classification_figures(probabilities, labels).items():
        interval = intervals[name]
        assert interval is not None and interval[0] < value < interval[1]


def test_intervals_of_values_equal_scipys() -> None:
    predicted, labels = values(60)

    def pearson(x: np.ndarray, y: np.ndarray) -> float:
        return stats.pearsonr(x, y)[0]

    settings = {"method": "percentile", "rng": 0, "n_resamples": 2000}
    reference = stats.bootstrap(
        (predicted, labels), pearson, paired=True, vectorized=False, **settings
    ).confidence_interval
    intervals = regression_intervals(predicted, labels)
    assert intervals["corr"] == pytest.approx(tuple(reference), abs=0.02)
    reference = stats.bootstrap((np.abs(predicted - labels),), np.mean, **settings)
    expected = tuple(reference.confidence_interval)
    assert intervals["mae"] == pytest.approx(expected, abs=0.02)


def test_intervals_come_from_the_seed_and_need_samples_that_differ() -> None:
    data = values(50)
    assert regression_intervals(*data, seed=1) == regression_intervals(*data, seed=1)
    assert regression_intervals(*data, seed=1) != regression_intervals(*data, seed=2)
    few = classification_intervals(*classes(4))
    assert set(few.values()) == {None} and few.keys() == classification_figures(*classes()).keys()
    all_right = classification_intervals(np.eye(3)[[0, 1, 2, 0, 1, 2]], np.array([0, 1, 2] * 2))
    assert all_right["accuracy"] is None
    assert set(regression_intervals(*values(4)).values()) == {None}


def test_memory_for_intervals_does_not_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    data = values(50)
    at_once = regression_intervals(*data)
    monkeypatch.setattr("cggm.pipelines.evaluation.intervals._BLOCK", 50 * 7)
    assert regression_intervals(*data) == at_once
