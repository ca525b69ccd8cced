"""Files of an evaluation and of an inference, from real MONAI evaluators."""

import csv
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data.errors import InputError
from cggm.pipelines.evaluation.prediction_metrics import (
    ClassificationMetrics,
    PredictionMetrics,
    RegressionMetrics,
)
from cggm.pipelines.evaluation.prediction_plots import draw_confusion, draw_scatter
from cggm.pipelines.evaluation.prediction_report import PredictionReport
from cggm.pipelines.evaluation.prediction_writer import PredictionWriter
from cggm.pipelines.handlers.feature_batches import PrepareFeatures

from ..children import in_a_child

CLASSES = ["happy", "$sad$", "=angry"]


class First(nn.Module):
    """Gives the first vector of the text: its features are the prediction."""

    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        return inputs["text"][0][:, 0]


def items(outputs: Tensor, labels: Tensor | None) -> list[dict[str, Any]]:
    """Samples with these predictions; every second one has audio too."""
    samples = []
    for i, output in enumerate(outputs):
        audio = (torch.zeros(2, 5), torch.tensor(2 * (i % 2)))
        inputs = {"text": (output[None], torch.tensor(1)), "audio": audio}
        sample = {"inputs": inputs, "id": f"s{i:02}"}
        samples.append(sample if labels is None else sample | {"label": labels[i]})
    return samples


def of_classes(samples: int = 30) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (samples,), generator=generator)
    logits = torch.randn(samples, 3, generator=generator)
    logits[torch.arange(samples), labels] += 1
    return items(logits, labels)


def of_values(samples: int = 30) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-3, 4, (samples, 1), generator=generator).float()
    return items(0.5 * labels + torch.randn(samples, 1, generator=generator), labels)


def evaluator(data: list[dict[str, Any]], handlers: list[Any], **settings: Any) -> Any:
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(data, batch_size=4),  # type: ignore[arg-type]
        network=First(),
        prepare_batch=PrepareFeatures(),
        val_handlers=handlers,
        decollate=False,
        **settings,
    )


def report(
    folder: Path, data: list[dict[str, Any]], metric: PredictionMetrics, **settings: Any
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    handler = PredictionReport(folder, metric, data="generated", **settings)
    evaluator(data, [handler], key_val_metric={metric.key: metric}).run()
    return strict_json(folder / "evaluation.json"), rows(folder / "samples.csv")


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_report_of_classes(tmp_path: Path, capsys: Any) -> None:
    metric = ClassificationMetrics()
    about = {"part": "test"}
    summary, samples = report(tmp_path, of_classes(), metric, classes=CLASSES, about=about)
    assert (summary["data"], summary["part"], summary["samples"]) == ("generated", "test", 30)
    accuracy = summary["figures"]["accuracy"]
    assert accuracy["value"] == pytest.approx(100 * metric.figures["accuracy"], abs=0.006)
    assert accuracy["unit"] == "percent"
    low, high = accuracy["interval_95"]
    assert 0 < low < accuracy["value"] < high <= 100
    assert list(summary["f1_by_class"]) == CLASSES
    assert sum(f1["samples"] for f1 in summary["f1_by_class"].values()) == 30
    hits = sum(row["label"] == row["prediction"] for row in samples)
    assert hits / 30 == pytest.approx(metric.figures["accuracy"])
    for row, item in zip(samples, of_classes(), strict=True):
        assert row["id"] == item["id"]
        assert row["label"].lstrip("'") == CLASSES[item["label"]]
        probabilities = item["inputs"]["text"][0][0].softmax(0)
        expected = probabilities[item["label"]].item()
        assert float(row["probability_of_label"]) == pytest.approx(expected, abs=1e-4)
        assert float(row["probability"]) == pytest.approx(probabilities.max().item(), abs=1e-4)
    matrix = rows(tmp_path / "confusion.csv")
    assert [row["true class"].lstrip("'") for row in matrix] == CLASSES
    counts = np.array([[int(row[name]) for name in CLASSES] for row in matrix])
    assert counts.sum() == 30 and counts.trace() == hits
    shown = capsys.readouterr().out
    assert "30 samples of: generated" in shown
    assert f"accuracy           {accuracy['value']:.1f} %  ({low:.1f} to {high:.1f})" in shown


def test_report_of_values(tmp_path: Path) -> None:
    metric = RegressionMetrics()
    summary, samples = report(tmp_path, of_values(), metric)
    figures = summary["figures"]
    assert figures["mae"]["value"] == pytest.approx(metric.figures["mae"], abs=1e-4)
    assert (figures["mae"]["unit"], figures["corr"]["unit"]) == ("label", "none")
    assert figures["acc7"]["value"] == pytest.approx(100 * metric.figures["acc7"], abs=0.006)
    low, high = figures["corr"]["interval_95"]
    assert low < figures["corr"]["value"] < high
    errors = [abs(float(row["error"])) for row in samples]
    assert np.mean(errors) == pytest.approx(metric.figures["mae"], abs=1e-4)
    assert (tmp_path / "scatter.png").is_file() and not (tmp_path / "confusion.png").exists()


def test_undefined_figures_are_null(tmp_path: Path, capsys: Any) -> None:
    labels = torch.zeros(3, 1)
    summary, _ = report(tmp_path, items(torch.ones(3, 1), labels), RegressionMetrics())
    for name in ("corr", "acc2_negative_positive"):
        assert summary["figures"][name]["value"] is None
    assert summary["figures"]["mae"] == {
        "value": 1.0,
        "unit": "label",
        "interval_95": None,
        "what": "mean absolute error, in units of the label",
    }
    assert "  corr                       undefined\n" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    def written(seed: int) -> dict[str, Any]:
        return report(tmp_path, of_values(), RegressionMetrics(), seed=seed)[0]

    assert written(1) == written(1) != written(2)


def test_predictions_that_say_nothing_are_refused(tmp_path: Path) -> None:
    outputs = torch.zeros(14, 3)
    outputs[1:13, 0] = torch.nan
    message = r"NaN or infinite for 12 of 14 samples \(s01, s02, .*, s10 and 2 more\)"
    with pytest.raises(InputError, match=message):
        labels = torch.zeros(14, dtype=torch.long)
        report(tmp_path, items(outputs, labels), ClassificationMetrics())
    with pytest.raises(InputError, match=message):
        writer = PredictionWriter(tmp_path, task="classification")
        evaluator(items(outputs, None), [writer]).run()
    assert list(tmp_path.iterdir()) == []


def test_names_must_fit_the_network(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are 2 classes, but the network has 3 outputs"):
        report(tmp_path, of_classes(), ClassificationMetrics(), classes=CLASSES[:2])
    summary, _ = report(tmp_path, of_classes(), ClassificationMetrics())
    assert list(summary["f1_by_class"]) == ["0", "1", "2"]


@pytest.mark.parametrize("count", [2, 101])
def test_pictures_of_confusion_grow_with_the_classes(tmp_path: Path, count: int) -> None:
    counts = np.eye(count, dtype=int)
    counts[0, 0] = 0  # a class without samples
    draw_confusion(tmp_path / "c.png", counts, [f"class {i}" for i in range(count)])
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("L")).astype(int)
    assert min(pixels.shape) >= max(300, 18 * count)  # 6.5 points of text in each row
    assert (pixels < 100).any()


def test_points_of_a_scatter_lie_where_they_should(tmp_path: Path) -> None:
    labels = np.array([-3.0, 3.0])
    for name, predicted in (("right", labels), ("wrong", -labels)):
        draw_scatter(tmp_path / f"{name}.png", np.repeat(predicted, 50), np.repeat(labels, 50))

    def blue(name: str) -> np.ndarray:
        with Image.open(tmp_path / f"{name}.png") as picture:
            red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
        return np.argwhere(blue - red > 60)

    assert np.corrcoef(blue("right").T)[0, 1] < -0.9  # rows count from the top
    assert np.corrcoef(blue("wrong").T)[0, 1] > 0.9


def test_only_the_first_of_two_processes_writes(tmp_path: Path) -> None:
    def judge(rank: int) -> None:
        rendezvous = f"file://{tmp_path / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        metric = RegressionMetrics()
        handler = PredictionReport(tmp_path / str(rank), metric, data="generated")
        evaluator(of_values()[rank::2], [handler], key_val_metric={"mae": metric}).run()

    children = [in_a_child(partial(judge, rank)) for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert not (tmp_path / "1").exists()
    assert len(rows(tmp_path / "0" / "samples.csv")) == 30


def test_predictions_of_classes_without_labels(tmp_path: Path, capsys: Any) -> None:
    data = [{k: v for k, v in item.items() if k != "label"} for item in of_classes(12)]
    writer = PredictionWriter(tmp_path, task="classification", classes=CLASSES)
    evaluator(data, [writer]).run()
    table, content = rows(tmp_path / "predictions.csv"), strict_json(tmp_path / "predictions.json")
    assert (content["task"], content["classes"]) == ("classification", CLASSES)
    for item, row, sample in zip(data, table, content["samples"], strict=True):
        probabilities = item["inputs"]["text"][0][0].softmax(0)
        best = CLASSES[int(probabilities.argmax())]
        assert row["id"] == sample["id"] == item["id"]
        assert row["prediction"].lstrip("'") == sample["prediction"] == best
        written = [float(row[f"probability of {name}"]) for name in CLASSES]
        assert written == pytest.approx(probabilities.tolist(), abs=1e-6)
        assert sample["most_probable"] == pytest.approx(
            dict(zip(CLASSES, probabilities.tolist(), strict=True)), abs=1e-6
        )
        assert list(sample["most_probable"])[0] == best
        has_audio = bool(item["inputs"]["audio"][1])
        assert sample["modalities"] == (["text", "audio"] if has_audio else ["text"])
        assert row["modalities"] == " ".join(sample["modalities"])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 12 and shown[10] == "… and 2 more"
    assert shown[11] == f"12 predictions in {tmp_path / 'predictions.csv'}"


def test_predictions_of_values(tmp_path: Path, capsys: Any) -> None:
    data = items(torch.tensor([[0.5], [-1.25]]), None)
    evaluator(data, [PredictionWriter(tmp_path, task="regression")]).run()
    assert strict_json(tmp_path / "predictions.json") == {
        "task": "regression",
        "samples": [
            {"id": "s00", "prediction": 0.5, "modalities": ["text"], "remark": ""},
            {"id": "s01", "prediction": -1.25, "modalities": ["text", "audio"], "remark": ""},
        ],
    }
    assert [row["prediction"] for row in rows(tmp_path / "predictions.csv")] == ["0.5", "-1.25"]
    assert "s01  -1.250  from text, audio" in capsys.readouterr().out


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task is 'ranking'; it is one of"):
        PredictionWriter(tmp_path, task="ranking")


def test_metric_and_report_meet_in_a_bundle(tmp_path: Path) -> None:
    """As evaluate.json says it: one metric, which the report refers to."""
    parser = ConfigParser(
        {
            "metric": {
                "_target_": "cggm.pipelines.evaluation.prediction_metrics.RegressionMetrics"
            },
            "key_metric": {"mae": "@metric"},
            "compare": {"_target_": "cggm.pipelines.evaluation.outcomes.comparison", "name": "mae"},
            "handlers": [
                {
                    "_target_": "cggm.pipelines.evaluation.prediction_report.PredictionReport",
                    "folder": str(tmp_path),
                    "metric": "@metric",
                    "data": "generated",
                }
            ],
        }
    )
    found = {name: parser.get_parsed_content(name) for name in ("key_metric", "compare")}
    evaluator(
        of_values(),
        parser.get_parsed_content("handlers"),
        key_val_metric=found["key_metric"],
        metric_cmp_fn=found["compare"],
    ).run()
    assert strict_json(tmp_path / "evaluation.json")["samples"] == 30
