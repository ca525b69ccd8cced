"""Metrics of real MONAI evaluators, on one and on two processes, and the epoch they choose."""

import csv
import doctest
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data.errors import InputError
from cggm.pipelines.evaluation import prediction_metrics
from cggm.pipelines.evaluation.outcomes import (
    classification_figures,
    comparison,
    regression_figures,
)
from cggm.pipelines.evaluation.prediction_metrics import (
    ClassificationMetrics,
    PredictionMetrics,
    RegressionMetrics,
)
from cggm.pipelines.handlers.checkpoint_file import read
from cggm.pipelines.handlers.checkpoints import TrainingCheckpoint
from cggm.pipelines.handlers.feature_batches import PrepareFeatures
from cggm.pipelines.handlers.progress import EpochLog

from ..children import in_a_child


class First(nn.Module):
    """Gives the first vector of the only modality: its features are the prediction."""

    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        return inputs["text"][0][:, 0]


def items(task: str, samples: int = 23, seed: int = 0) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    width = 3 if task == "classification" else 1
    predictions = torch.randn(samples, width, generator=generator)
    labels = torch.randint(3, (samples,), generator=generator)
    if task == "regression":
        labels = torch.randint(-3, 4, (samples, 1), generator=generator).float()
    return [
        {"inputs": {"text": (p[None], torch.tensor(1))}, "label": label, "id": f"s{i:02}"}
        for i, (p, label) in enumerate(zip(predictions, labels, strict=True))
    ]


def evaluate(
    data: Sequence[dict[str, Any]], metric: PredictionMetrics, batch_size: int = 4
) -> dict[str, float]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(list(data), batch_size=batch_size),
        network=First(),
        prepare_batch=PrepareFeatures(),
        key_val_metric={metric.key: metric},
        decollate=False,
    )
    evaluator.run()
    return evaluator.state.metrics


def expected(data: Sequence[dict[str, Any]], task: str) -> dict[str, float]:
    outputs = torch.stack([item["inputs"]["text"][0][0] for item in data])
    labels = np.array([item["label"].item() for item in data])
    if task == "classification":
        return classification_figures(outputs.softmax(1).numpy(), labels)
    return regression_figures(outputs[:, 0].numpy(), labels)


METRICS: dict[str, Callable[[], PredictionMetrics]] = {
    "classification": ClassificationMetrics,
    "regression": RegressionMetrics,
}


@pytest.mark.parametrize("task", METRICS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_all_batches_are_judged_at_once(task: str, batch_size: int) -> None:
    data = items(task)
    metric = METRICS[task]()
    metrics = evaluate(data, metric, batch_size)
    figures = expected(data, task)
    assert metric.figures == pytest.approx(figures, nan_ok=True)
    named = {name.replace("_", "/", 1): value for name, value in figures.items()}
    assert metrics == pytest.approx(named, nan_ok=True)
    assert {"classification": "f1/macro", "regression": "acc2/negative_positive"}[task] in metrics


def test_predictions_are_kept_by_id() -> None:
    data = items("classification")
    metric = ClassificationMetrics()
    evaluate(data[::-1], metric)
    assert metric.predictions is not None
    assert metric.predictions.ids == [item["id"] for item in data]
    assert metric.predictions.labels.tolist() == [item["label"].item() for item in data]
    for item, output in zip(data, metric.predictions.outputs, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(output).float(), item["inputs"]["text"][0][0].softmax(0)
        )


@pytest.mark.parametrize("task", METRICS)
def test_samples_that_come_twice_count_once(task: str) -> None:
    data = items(task)
    once = evaluate(data, METRICS[task]())
    assert evaluate([*data, *data[:7]], METRICS[task]()) == once


def test_a_second_run_forgets_the_first() -> None:
    metric = RegressionMetrics()
    evaluate(items("regression"), metric)
    other = items("regression", samples=5, seed=1)
    evaluate(other, metric)
    assert metric.figures == pytest.approx(expected(other, "regression"), nan_ok=True)
    assert metric.predictions is not None and len(metric.predictions.ids) == 5


def test_the_key_figure_is_the_value() -> None:
    for key in ("accuracy", "f1/weighted", "f1/macro"):
        metric = ClassificationMetrics(key)
        metrics = evaluate(items("classification"), metric)
        assert metric.compute() == metrics[key] == metric.figures[key.replace("/", "_")]
    assert "acc7" not in evaluate(items("regression"), RegressionMetrics("corr", limits=None))


def test_a_key_may_be_written_as_reports_write_it() -> None:
    assert ClassificationMetrics("accuracy_balanced").key == "accuracy/balanced"
    assert RegressionMetrics("acc2_negative_positive").key == "acc2/negative_positive"


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(InputError, match=r"no metric 'f1' for classification; .*'f1/weighted'"):
        ClassificationMetrics("f1")
    with pytest.raises(InputError, match=r"no metric 'acc7' for regression; .*'mae', 'corr'"):
        RegressionMetrics("acc7", limits=None)


def test_samples_without_labels_are_refused() -> None:
    data = [{"inputs": i["inputs"], "id": i["id"]} for i in items("regression")]
    with pytest.raises(InputError, match="s00 and others have no label"):
        evaluate(data, RegressionMetrics())


@pytest.mark.parametrize("task", METRICS)
def test_two_processes_judge_the_samples_of_both(tmp_path: Path, task: str) -> None:
    """The sampler of the second rank repeats a sample of the first; its share is smaller."""

    def judge(rank: int) -> None:
        rendezvous = f"file://{tmp_path / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        data = items(task)
        metric = METRICS[task]()
        metrics = evaluate(data[:14] if rank == 0 else data[13:], metric)
        assert metric.predictions is not None
        torch.save((metrics, metric.predictions.ids), tmp_path / f"{rank}.pt")
        dist.destroy_process_group()

    children = [in_a_child(partial(judge, rank)) for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    alone = evaluate(items(task), METRICS[task]())
    for rank in range(2):
        metrics, ids = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert metrics == pytest.approx(alone, nan_ok=True)
        assert ids == [item["id"] for item in items(task)]


class Run:
    """A training whose only weight is set by hand after every epoch; labels are 0, so MAE is it."""

    def __init__(
        self, folder: Path, weights: Sequence[float], epochs: int | None = None, **settings: Any
    ) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        data = [
            {"image": torch.ones(1), "label": torch.zeros(1), "id": str(number)}
            for number in range(4)
        ]
        loader = DataLoader(data, batch_size=2)
        self.evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=loader,
            network=self.network,
            key_val_metric={"mae": RegressionMetrics("mae")},
            metric_cmp_fn=comparison("mae"),
            decollate=False,
        )
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.0)
        checkpoint = TrainingCheckpoint(
            folder,
            network=self.network,
            optimizer=optimizer,
            evaluator=self.evaluator,
            **settings,
        )
        log = EpochLog(folder, optimizer=optimizer, evaluator=self.evaluator)
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs or len(weights),
            train_data_loader=loader,
            network=self.network,
            optimizer=optimizer,
            loss_function=nn.L1Loss(),
            train_handlers=[self, ValidationHandler(1, self.evaluator), log, checkpoint],
        )
        self.weights = weights

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._set_weight)

    def _set_weight(self, engine: SupervisedTrainer) -> None:
        nn.init.constant_(self.network.weight, self.weights[engine.state.epoch - 1])


def test_the_epoch_with_the_lowest_error_is_kept(tmp_path: Path, capsys: Any) -> None:
    run = Run(tmp_path, [0.9, 0.5, -0.25, 0.75])
    run.trainer.run()
    assert read(tmp_path / "model.pt")["weight"].item() == -0.25
    assert (run.evaluator.state.best_metric, run.evaluator.state.best_metric_epoch) == (0.25, 3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert "(best mae 0.900 at epoch 1)" in lines[0]
    assert "(best mae 0.250 at epoch 3)" in lines[3]
    with open(tmp_path / "history.csv", newline="") as file:
        errors = [float(row["validation/mae"]) for row in csv.DictReader(file)]
    assert errors == pytest.approx([0.9, 0.5, 0.25, 0.75])


def test_a_first_error_above_all_others_is_taken_and_replaced(tmp_path: Path) -> None:
    """MONAI starts from a best of -1, below which no error ever lies."""
    Run(tmp_path, [5.0]).trainer.run()
    assert read(tmp_path / "model.pt")["weight"].item() == 5.0
    Run(tmp_path, [0.0, 4.0, 6.0], resume=True).trainer.run()
    assert read(tmp_path / "model.pt")["weight"].item() == 4.0


def test_a_resumed_run_knows_the_lowest_error(tmp_path: Path) -> None:
    weights = [0.9, 0.25, 0.5, 0.75]
    Run(tmp_path, weights, epochs=2).trainer.run()
    run = Run(tmp_path, weights, resume=True)
    run.trainer.run()
    assert read(tmp_path / "model.pt")["weight"].item() == 0.25
    assert run.evaluator.state.best_metric_epoch == 2


def test_without_the_comparison_the_worst_would_be_kept(tmp_path: Path) -> None:
    run = Run(tmp_path, [0.9, 0.5, -0.25, 0.75])
    run.evaluator.metric_cmp_fn = comparison("corr")
    run.trainer.run()
    assert read(tmp_path / "model.pt")["weight"].item() == pytest.approx(0.9)


def test_examples() -> None:
    assert doctest.testmod(prediction_metrics).failed == 0
