"""Finished runs of a plan, and what they left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ....data.files import read_json
from ...evaluation.classifiers import FILE, evaluate_classifiers
from ..experiments.bundles import open_bundle
from ..experiments.execute import plain_figures
from ..experiments.record import FINISHED
from ..experiments.run import Run
from ..report.classifier_table import figure_of
from ..report.collect import DataSet, data_sets, read_run, state_of, without
from ..report.curves import History, read_history

NOT_IN_PAPER = ("f1_macro",)


@dataclass(frozen=True)
class FinishedRuns:
    """The runs of a plan, as far as they are finished.

    Attributes:
        runs: of the plan.
        output: their folder.
        records: of those that were started, by name of the run.
        sets: what was measured, by label of the data.
    """

    runs: Sequence[Run]
    output: Path
    records: Mapping[str, Mapping[str, Any]]
    sets: Mapping[str, DataSet]

    def folders(self, data: str, label: str) -> list[Path]:
        """Folders of a row's finished runs, one per seed."""
        return [run.folder(self.output) for run in self._finished(data, label)]

    def history(self, data: str, label: str) -> History | None:
        """What a row's runs recorded of training."""
        return read_history(self.folders(data, label))

    def score(self, data: str, label: str) -> str | None:
        """The setting ``score`` of a row's runs; None where their configuration does not say it.

        A bundle's default may have changed since, so the run itself is asked.
        """
        for folder in self.folders(data, label):
            with contextlib.suppress(OSError, ValueError):  # it is not there, or damaged
                content = read_json(folder / "configuration" / "train.json")
                if isinstance(content.get("score"), str):
                    # It may depend on the method, in an expression of MONAI's.
                    return str(ConfigParser(content).get_parsed_content("score"))
        return None

    def missing(self, data: str, *labels: str) -> list[str]:
        """Runs on these data that are not finished, in words; of all rows where none is named."""
        of_data = [run for run in self.runs if run.data == data]
        runs = [run for run in of_data if not labels or run.label in labels]
        return [self._state(run) for run in runs if not self._is_done(run)]

    def classifiers(self, data: str) -> dict[str, dict[str, dict[int, float]]]:
        """Figures of the classifiers on the test part: row, then modality, then seed."""
        return {label: self._classifiers(data, label) for label in ("joint", "cggm")}

    def _classifiers(self, data: str, label: str) -> dict[str, dict[int, float]]:
        by_modality: dict[str, dict[int, float]] = {}
        for run in self._finished(data, label):
            folder = run.folder(self.output)
            if not (folder / "models" / FILE).is_file():
                continue
            bundle = open_bundle(run.bundle)
            settings = {**run.settings, **run.own}
            written = evaluate_classifiers(bundle.train, bundle.evaluate, folder, settings)
            for modality, path in written.items():
                value = plain_figures(read_json(path)).get(figure_of(run.bundle))
                if value is not None:
                    by_modality.setdefault(modality, {})[run.seed] = value
        return by_modality

    def _finished(self, data: str, label: str) -> list[Run]:
        return [r for r in self.runs if (r.data, r.label) == (data, label) and self._is_done(r)]

    def _is_done(self, run: Run) -> bool:
        return self.records.get(run.name, {}).get("state") == FINISHED

    def _state(self, run: Run) -> str:
        record = self.records.get(run.name)
        return f"{run.label}, seed {run.seed}: not started" if record is None else state_of(record)


def read_finished(runs: Sequence[Run], output: Path) -> FinishedRuns:
    """Read what the runs of a plan left; other runs in the folder are left alone.

    Raises:
        InputError: a record is damaged, or runs of one data set were tested on different samples.
    """
    read = {run.name: read_run(run.folder(output)) for run in runs}
    records = {name: record for name, record in read.items() if record is not None}
    finished = FinishedRuns(runs, output, records, {})
    sets = data_sets(records.values())  # rows in the order of the plan, which is the paper's
    shown = {data.label: without(data, NOT_IN_PAPER) for data in sets if data.rows}
    # With those that were never started, and so left no record.
    return replace(
        finished,
        sets={
            label: replace(data, missing=finished.missing(label)) for label, data in shown.items()
        },
    )
