"""Metrics for MONAI's evaluators over all samples at once: accuracy, F1, MAE and the like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import Tensor

from ...data.bootstrap import Interval
from ...data.errors import InputError
from .intervals import classification_intervals, regression_intervals
from .outcomes import classification_figures, regression_figures
from .predictions import Collector, Predictions


class PredictionMetrics(Metric):
    """What the two metrics below share: they judge the predictions of all batches at once.

    Attach one to a MONAI evaluator with ``decollate=False`` whose batches hold each sample's
    ``id``. Its value is the figure called ``key``; all figures are put into the evaluator's
    metrics too, those of one kind in a group: ``f1/weighted``, ``f1/macro``. After an epoch
    ``predictions`` and ``figures`` are kept for reports.

    Args:
        key: the figure that chooses the best epoch.

    Raises:
        InputError: there is no such figure.
    """

    task: str

    def __init__(self, key: str) -> None:
        self.figures: dict[str, float] = {}
        self.predictions: Predictions | None = None
        self._collector = Collector(self.task)
        nothing = Predictions([], np.zeros((0, 1) if self.task == "classification" else 0), _NONE)
        names = [metric_name(figure) for figure in self.judge(nothing)]
        key = metric_name(key) if metric_name(key) in names else key
        if key not in names:
            raise InputError(f"there is no metric {key!r} for {self.task}; choose one of {names}")
        self.key = key
        super().__init__()

    def judge(self, predictions: Predictions) -> dict[str, float]:
        """Compute all figures, by name."""
        raise NotImplementedError

    def intervals(self, seed: int) -> dict[str, Interval]:
        """Compute a 95 % interval for each figure of the last epoch."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all samples."""
        self._collector.clear()

    def update(self, output: tuple[Tensor, Tensor | None, Sequence[str]]) -> None:
        """Add samples.

        Args:
            output: predictions (B, C) or (B, 1), labels (B,) or (B, 1), and B ids.

        Raises:
            InputError: there are no labels.
        """
        prediction, label, ids = output
        if label is None:
            raise InputError(
                f"the samples {ids[0]} and others have no label, so predictions cannot be judged; "
                "give labelled samples, or use inference.json for the others"
            )
        self._collector.add(prediction, label, ids)

    def iteration_completed(self, engine: Engine) -> None:
        """Take the samples of the evaluator's last batch."""
        output = engine.state.output
        self.update((output["pred"], output["label"], engine.state.batch["id"]))  # type: ignore

    def completed(self, engine: Engine, name: str) -> None:
        """Put all figures into the evaluator's metrics."""
        super().completed(engine, name)
        named = {metric_name(figure): value for figure, value in self.figures.items()}
        engine.state.metrics.update(named)

    def compute(self) -> float:
        """Judge the samples of all processes; give the key figure."""
        self.predictions = self._collector.predictions()
        self.figures = self.judge(self.predictions)
        return {metric_name(figure): value for figure, value in self.figures.items()}[self.key]


class ClassificationMetrics(PredictionMetrics):
    """Accuracy and F1 over all samples, see :func:`.outcomes.classification_figures`.

    Args:
        key: "accuracy", "accuracy/balanced", "f1/weighted" or "f1/macro".
    """

    task = "classification"

    def __init__(self, key: str = "accuracy") -> None:
        super().__init__(key)

    def judge(self, predictions: Predictions) -> dict[str, float]:
        """Compute all figures, in [0, 1]."""
        return classification_figures(predictions.outputs, predictions.labels)

    def intervals(self, seed: int) -> dict[str, Interval]:
        """Compute a 95 % interval for each figure of the last epoch."""
        found = _kept(self.predictions)
        return classification_intervals(found.outputs, found.labels, seed=seed)


class RegressionMetrics(PredictionMetrics):
    """MAE, correlation, Acc-7, Acc-2 and F1, see :func:`.outcomes.regression_figures`.

    With "mae" as key the evaluator needs ``metric_cmp_fn=comparison("mae")``.

    Args:
        key: "mae", "corr", "acc7", "acc2/negative_nonnegative" and so on.
        limits: range of the classes that labels are rounded to; None for no Acc-7.
    """

    task = "regression"

    def __init__(self, key: str = "mae", limits: Sequence[float] | None = (-3, 3)) -> None:
        self.limits = None if limits is None else (limits[0], limits[1])
        super().__init__(key)

    def judge(self, predictions: Predictions) -> dict[str, float]:
        """Compute all figures: mae and corr as they are, shares in [0, 1]."""
        return regression_figures(predictions.outputs, predictions.labels, limits=self.limits)

    def intervals(self, seed: int) -> dict[str, Interval]:
        """Compute a 95 % interval for each figure of the last epoch."""
        found = _kept(self.predictions)
        return regression_intervals(found.outputs, found.labels, limits=self.limits, seed=seed)


def metric_name(figure: str) -> str:
    """Name a figure as logs group them.

    >>> metric_name("f1_macro"), metric_name("acc2_negative_positive"), metric_name("mae")
    ('f1/macro', 'acc2/negative_positive', 'mae')
    """
    return figure.replace("_", "/", 1)


_NONE = np.zeros(0, np.int64)


def _kept(predictions: Predictions | None) -> Predictions:
    if predictions is None:
        raise ValueError("nothing was evaluated yet: run the evaluator first")
    return predictions
