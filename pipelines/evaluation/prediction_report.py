"""Report on predictions for labelled samples: figures with intervals, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ...data.bootstrap import Interval
from ...data.files import write_csv, write_json
from ..balancing.distributed import is_main_process
from .outcomes import PLAIN, confusion, f1_by_class, what_is
from .prediction_metrics import PredictionMetrics
from .predictions import Predictions, check_finite

NOTE = "shares in percent, mae and corr as they are; interval_95: bootstrap over the samples"


class PredictionReport:
    """Handler for an evaluator with labelled samples; writes figures, a table and a picture.

    ``evaluation.json`` has every figure with its unit, a sentence that says what it is, and a 95 %
    interval; ``samples.csv`` a row per sample. Classes get ``confusion.csv`` and ``confusion.png``,
    values ``scatter.png``. Undefined figures are null.

    Args:
        folder: where the files go.
        metric: the evaluator's key metric; what it collected is reported.
        classes: names by class number, for classification; numbers when not given.
        data: what the samples are, for the reader: a folder, or "synthetic".
        about: further facts to keep with the figures, such as part and checkpoint.
        seed: of the bootstrap.
        show: print the figures.
    """

    def __init__(
        self,
        folder: str | Path,
        metric: PredictionMetrics,
        *,
        classes: Sequence[str] | None = None,
        data: str,
        about: Mapping[str, Any] | None = None,
        seed: int = 0,
        show: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.metric = metric
        self.classes = classes
        self.about = {"data": data, **(about or {})}
        self.seed = seed
        self.show = show
        self.summary: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, _: Engine) -> None:
        found = self.metric.predictions
        if found is None or not is_main_process():
            return
        check_finite(found)
        figures = described(self.metric.figures, self.metric.intervals(self.seed))
        self.summary = {**self.about, "samples": len(found.ids), "note": NOTE, "figures": figures}
        if self.metric.task == "classification":
            rows = self._write_classes(found)
        else:
            rows = self._write_values(found)
        write_csv(self.folder / "samples.csv", rows)
        write_json(self.folder / "evaluation.json", self.summary)
        if self.show:
            print(table(self.summary), flush=True)

    def _write_classes(self, found: Predictions) -> list[dict[str, Any]]:
        from .prediction_plots import draw_confusion  # matplotlib is slow to import

        names = class_names(self.classes, found.outputs.shape[1])
        counts = confusion(found.outputs, found.labels)
        f1, true = f1_by_class(counts), counts.sum(1)
        self.summary["f1_by_class"] = {
            name: {"value": rounded(100 * f1[i], 2), "unit": "percent", "samples": int(true[i])}
            for i, name in enumerate(names)
        }
        matrix = [
            {"true class": name, **dict(zip(names, row, strict=True))}
            for name, row in zip(names, counts.tolist(), strict=True)
        ]
        write_csv(self.folder / "confusion.csv", matrix)
        draw_confusion(self.folder / "confusion.png", counts, names, title=self._title())
        return class_rows(found, names)

    def _write_values(self, found: Predictions) -> list[dict[str, Any]]:
        from .prediction_plots import draw_scatter  # matplotlib is slow to import

        figures = self.metric.figures
        corr = f"{figures['corr']:.3f}" if np.isfinite(figures["corr"]) else "undefined"
        text = f"MAE {figures['mae']:.3f}\ncorrelation {corr}"
        draw_scatter(
            self.folder / "scatter.png", found.outputs, found.labels, title=self._title(), text=text
        )
        return value_rows(found)

    def _title(self) -> str:
        data = str(self.about["data"])
        # The end of a long path says most.
        shown = data if len(data) <= 45 else f"…{data[-44:]}"
        return f"{self.summary['samples']} samples of: {shown}"


def described(
    figures: Mapping[str, float], intervals: Mapping[str, Interval]
) -> dict[str, dict[str, Any]]:
    """Give each figure its unit, its explanation and its interval; null where undefined."""
    content = {}
    for name, value in figures.items():
        factor, digits = (1, 4) if name in PLAIN else (100, 2)
        interval = intervals[name]
        content[name] = {
            "value": rounded(factor * value, digits),
            "unit": {"mae": "label", "corr": "none"}.get(name, "percent"),
            "interval_95": interval and [rounded(factor * end, digits) for end in interval],
            "what": what_is(name),
        }
    return content


def class_names(classes: Sequence[str] | None, count: int) -> list[str]:
    """Give the names of the classes, their numbers where there are none.

    Raises:
        ValueError: there are more or fewer names than the network has outputs.
    """
    if classes is None:
        return [str(number) for number in range(count)]
    if len(classes) != count:
        raise ValueError(f"there are {len(classes)} classes, but the network has {count} outputs")
    return list(classes)


def class_rows(found: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row per sample: label, prediction, and the probability of each."""
    rows = []
    for name, output, label in zip(found.ids, found.outputs, found.labels.tolist(), strict=True):
        best = int(output.argmax())
        probabilities = {
            "probability": rounded(output[best], 4),
            "probability_of_label": rounded(output[label], 4),
        }
        rows.append({"id": name, "label": names[label], "prediction": names[best], **probabilities})
    return rows


def value_rows(found: Predictions) -> list[dict[str, Any]]:
    """A row per sample: label, prediction, and prediction minus label."""
    columns = zip(found.ids, found.labels.tolist(), found.outputs.tolist(), strict=True)
    return [
        {
            "id": name,
            "label": rounded(label, 4),
            "prediction": rounded(value, 4),
            "error": rounded(value - label, 4),
        }
        for name, label, value in columns
    ]


def table(summary: Mapping[str, Any]) -> str:
    """The summary as lines for a terminal."""
    about = [str(summary["part"])] if "part" in summary else []
    about += [", ".join(summary["modalities"])] if "modalities" in summary else []
    suffix = f" ({'; '.join(about)})" if about else ""
    lines = [f"{summary['samples']} samples of: {summary['data']}{suffix}"]
    width = max(len(name) for name in summary["figures"])
    for name, figure in summary["figures"].items():
        percent = figure["unit"] == "percent"
        shown = ".1f" if percent else ".3f"
        value, interval = figure["value"], figure["interval_95"]
        text = "undefined" if value is None else f"{value:{shown}}{' %' if percent else ''}"
        if interval:
            text += f"  ({interval[0]:{shown}} to {interval[1]:{shown}})"
        lines.append(f"  {name:<{width}}  {text}")
    return "\n".join(lines)


def rounded(value: float, digits: int) -> float | None:
    """Round a number for a file; None when it is NaN or infinite, which JSON has no word for."""
    return round(float(value), digits) if np.isfinite(value) else None
