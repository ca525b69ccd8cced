"""A record of what a method did to each modality, over the whole training."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from ...data.errors import InputError
from ..balancing.distributed import is_main_process
from .accumulation import step_is_due
from .modulation import FUSION, Modulation

QUANTITIES = ("score", "improvement", "balance", "gradient_norm", "cosine", "loss")
COLUMNS: tuple[str, ...] = ("epoch", "iteration", "modality", *QUANTITIES)


class Recorder:
    """Handler that keeps what a :class:`Modulation` recorded of every optimizer step.

    ``modulation.csv`` has a row per step and modality: score (eq. 6's epsilon), improvement,
    balance (eq. 7), gradient_norm (of the encoder, before modulation), cosine (between the
    last-layer gradients of network and classifier) and the classifier's loss; the row "fusion" has
    score and loss of the network itself. The means over an epoch, also of whatever else
    a method records, are put into the trainer's metrics as ``balance/<modality>`` and so on, where
    TensorBoard, MLflow and :class:`EpochLog` find them. Put it after the modulation and before
    those.

    Args:
        folder: where ``modulation.csv`` goes.
        modulation: the handler to listen to.

    Raises:
        ValueError: a modality has the name of the network's row.
    """

    def __init__(self, folder: str | Path, modulation: Modulation) -> None:
        if FUSION in modulation.encoders:
            raise ValueError(f"a modality is called {FUSION!r}, which means the whole network here")
        self.path = Path(folder) / "modulation.csv"
        self.modulation = modulation
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch)

    def _note(self, engine: SupervisedTrainer) -> None:
        if not step_is_due(engine):
            return
        record = self.modulation.record
        for modality in [*record.get("gradient_norm", {}), FUSION]:
            row = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
            values = {name: v[modality] for name, v in record.items() if modality in v}
            if values:
                self._rows.append({**row, "modality": modality, **values})

    def _finish_epoch(self, engine: Engine) -> None:
        sums: dict[str, list[float]] = defaultdict(list)
        for row in self._rows:
            for name, value in row.items():
                # A batch without a modality has no score of it.
                if name not in COLUMNS[:3] and not math.isnan(value):
                    sums[f"{name}/{row['modality']}"].append(value)
        engine.state.metrics.update({name: sum(v) / len(v) for name, v in sums.items()})
        if is_main_process():
            self._write(engine.state.epoch)

    def _write(self, epoch: int) -> None:
        """Append this epoch; rows of it or of later ones come from a run that was stopped."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            keep = end_of_earlier_epochs(self.path, epoch)
            with open(self.path, "a", newline="") as file:
                file.truncate(keep)
                writer = csv.DictWriter(file, COLUMNS, "", "ignore", lineterminator="\n")
                if keep == 0:
                    writer.writeheader()
                writer.writerows(self._rows)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror})") from error


def end_of_earlier_epochs(path: Path, epoch: int) -> int:
    """Position in bytes behind the last row of an epoch before this one; 0 without such a file."""
    if not path.is_file():
        return 0
    position = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            first = line.split(b",")[0]
            if number > 0 and not (line.endswith(b"\n") and first.isdigit() and int(first) < epoch):
                break
            position += len(line)
    return position
