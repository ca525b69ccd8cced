"""Tables of predictions for samples without labels."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ...data.files import write_csv, write_json
from ..balancing.modality_dropout import subset_warning
from ..handlers.checkpoint_file import description_of
from .prediction_report import class_names, rounded
from .predictions import Collector, Predictions, check_finite

_SHOWN = 10  # lines on the terminal
_MOST_PROBABLE = 5


class PredictionWriter:
    """Handler for an evaluator over samples that need no label.

    ``predictions.csv`` has a row per sample: its id, the prediction, the modalities it was made
    from and, for classes, the probabilities of all of them. ``predictions.json`` holds the same
    for programs, with the five most probable classes. A sample without modalities that the network
    was never trained without is warned of, and has this as its ``remark``.

    Args:
        folder: where the two files go.
        task: "classification" or "regression".
        classes: names by class number, for classification; numbers when not given.
        weights: the network's file; beside it lies how it was trained.

    Raises:
        InputError: at the end, when predictions are NaN or infinite; nothing is written then.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        task: str,
        classes: Sequence[str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.task = task
        self.classes = classes
        self._trained = {} if weights is None else description_of(weights)
        self._collector = Collector(task)
        self._modalities: dict[str, list[str]] = {}

    def attach(self, engine: Engine) -> None:
        """Register at the evaluator's events."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._take)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        self._collector.clear()
        self._modalities.clear()

    def _take(self, engine: Engine) -> None:
        batch: dict[str, Any] = engine.state.batch  # type: ignore[assignment]
        ids: list[str] = batch["id"]
        self._collector.add(engine.state.output["pred"], None, ids)  # type: ignore[index]
        lengths = {name: pair[1].tolist() for name, pair in batch["inputs"].items()}
        for i, name in enumerate(ids):
            self._modalities[name] = [m for m, length in lengths.items() if length[i] > 0]

    def _write(self, _: Engine) -> None:
        found = self._collector.predictions()
        check_finite(found)
        content: dict[str, Any] = {"task": self.task}
        if self.task == "classification":
            names = class_names(self.classes, found.outputs.shape[1])
            content["classes"] = names
            rows, samples = self._classes(found, names)
        else:
            rows = samples = self._values(found)
        joined = [row | {"modalities": " ".join(row["modalities"])} for row in rows]
        write_csv(self.folder / "predictions.csv", joined)
        write_json(self.folder / "predictions.json", {**content, "samples": samples})
        self._warn(rows)
        self._print(rows)

    def _classes(
        self, found: Predictions, names: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        rows, samples = [], []
        for name, output in zip(found.ids, found.outputs, strict=True):
            order = np.argsort(-output, kind="stable")[:_MOST_PROBABLE]
            start = {
                "id": name,
                "prediction": names[order[0]],
                "probability": rounded(output[order[0]], 6),
                "modalities": self._modalities[name],
                "remark": self._remark(name),
            }
            each = zip(names, output, strict=True)
            rows.append(start | {f"probability of {c}": rounded(p, 6) for c, p in each})
            samples.append(
                start | {"most_probable": {names[i]: rounded(output[i], 6) for i in order}}
            )
        return rows, samples

    def _values(self, found: Predictions) -> list[dict[str, Any]]:
        pairs = zip(found.ids, found.outputs.tolist(), strict=True)
        return [
            {
                "id": name,
                "prediction": rounded(value, 6),
                "modalities": self._modalities[name],
                "remark": self._remark(name),
            }
            for name, value in pairs
        ]

    def _remark(self, name: str) -> str:
        return subset_warning(self._trained, self._modalities[name]) or ""

    def _warn(self, rows: Sequence[dict[str, Any]]) -> None:
        said = Counter(row["remark"] for row in rows if row["remark"])
        for remark, count in said.items():
            print(f"warning: {count} of {len(rows)} samples: {remark}", file=sys.stderr, flush=True)

    def _print(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows[:_SHOWN]:
            sure = f" ({100 * row['probability']:.0f} %)" if "probability" in row else ""
            value = row["prediction"]
            text = f"{value:.3f}" if isinstance(value, float) else value
            print(f"{row['id']}  {text}{sure}  from {', '.join(row['modalities'])}")
        if len(rows) > _SHOWN:
            print(f"… and {len(rows) - _SHOWN} more")
        print(f"{len(rows)} predictions in {self.folder / 'predictions.csv'}", flush=True)
