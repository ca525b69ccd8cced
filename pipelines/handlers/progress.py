"""The messages of a training: facts before it, a line and a row per epoch."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import Evaluator, SupervisedTrainer
from monai.utils import is_scalar
from torch.optim import Optimizer
from tqdm import tqdm

from ...data.files import write_csv
from ...data.words import duration
from ..balancing.distributed import is_main_process


class Epochal(Protocol):
    """Data or a sampler that draws anew for every epoch."""

    def set_epoch(self, epoch: int) -> None: ...


class SetEpoch:
    """Handler that tells the data which epoch begins, so that it draws from (seed, epoch).

    Args:
        data: the data set, or a sampler, of the trainer's loader.
    """

    def __init__(self, data: Epochal) -> None:
        self.data = data

    def attach(self, engine: Engine) -> None:
        """Register on the trainer.

        Raises:
            ValueError: the loader keeps its workers, whose copies of the data would not hear of it.
        """
        if getattr(getattr(engine, "data_loader", None), "persistent_workers", False):
            raise ValueError(
                "the data draw anew for each epoch, which persistent workers would never notice: "
                "set persistent_workers to false in the data loader"
            )
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Pass on the number of the epoch, which counts from 1."""
        self.data.set_epoch(engine.state.epoch)


class Announcement:
    """Handler that prints what is trained on what, once, before the first batch.

    Put it first in the trainer's list: all that may refuse to start, such as a checkpoint that
    does not fit, has spoken by then, and what a method tries out in an epoch has not begun.

    Args:
        optimizer: whose parameters are counted.
        facts: further facts by name: `{"cases": "12 to train, 4 to validate"}`.
    """

    def __init__(self, optimizer: Optimizer, facts: Mapping[str, object] | None = None) -> None:
        self.optimizer = optimizer
        self.facts = dict(facts or {})
        self._is_due = True

    def attach(self, engine: Engine) -> None:
        """Register on the trainer; processes other than the first stay silent."""
        if is_main_process():
            engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Print the facts, unless an earlier epoch did."""
        if not self._is_due:
            return
        self._is_due = False
        count = sum(p.numel() for group in self.optimizer.param_groups for p in group["params"])
        facts = {
            "device": engine.state.device,
            "trained parameters": f"{count:,}",
            "batches per epoch": _batches(engine),
            **self.facts,
        }
        for name, value in facts.items():
            say(f"{name}: {value}")


class EpochLog:
    """Handler that prints one line per epoch and keeps all numbers in `history.csv`.

    Metrics are dictionaries of scalars by name. A slash groups them on the line: `dice/WT` and
    `dice/TC` read `dice WT 0.712 TC 0.620`. The trainer's own metrics are read from
    `engine.state.metrics`, where a handler placed before this one may put them (`balance/flair`);
    only `groups` are printed, all are kept in the file. Rows of epochs that a resumed run does
    again are replaced. A progress bar over the batches shows on a terminal only.

    Put it after the validation handler and after handlers that set metrics.

    Args:
        folder: where `history.csv` goes.
        optimizer: whose learning rate (of the first parameter group) is shown.
        evaluator: its metrics and best key metric are shown after each validation.
        groups: groups of the trainer's metrics to print.
        figures: metrics of a validation to print; None prints all.
        bar: show the progress bar; None shows it on a terminal.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        optimizer: Optimizer,
        evaluator: Evaluator | None = None,
        groups: Sequence[str] = ("balance",),
        figures: Sequence[str] | None = None,
        bar: bool | None = None,
    ) -> None:
        self.path = Path(folder) / "history.csv"
        self.optimizer = optimizer
        self.evaluator = evaluator
        self.groups = tuple(groups)
        self.figures = figures
        self.bar = sys.stderr.isatty() if bar is None else bar
        self._losses: list[torch.Tensor] = []
        self._rate = 0.0
        self._epoch_began = 0.0
        self._seconds: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Register on the trainer; processes other than the first stay silent."""
        if not is_main_process():
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_STARTED, self._note_rate)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_loss)
        if self.bar:
            ProgressBar(persist=False, desc="epoch").attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _begin(self, engine: SupervisedTrainer) -> None:
        self._losses = []
        self._epoch_began = time.monotonic()

    def _note_rate(self, engine: SupervisedTrainer) -> None:
        # Before the schedule moves on: the rate of this batch, not of the next.
        self._rate = float(self.optimizer.param_groups[0]["lr"])

    def _note_loss(self, engine: SupervisedTrainer) -> None:
        output = engine.state.output
        # MONAI repeats the loss of a batch in the output of each of its samples.
        first = output[0] if isinstance(output, list) else output
        # What the task costs, without what a method added to it.
        self._losses.append(torch.as_tensor(first.get("task_loss", first["loss"])).detach())

    def _end(self, engine: SupervisedTrainer) -> None:
        self._seconds.append(time.monotonic() - self._epoch_began)
        loss = float(torch.stack(self._losses).float().mean()) if self._losses else float("nan")
        trained = scalars(engine.state.metrics)
        validated = self._validation(engine)
        say(self._line(engine, loss, validated, trained))
        row: dict[str, Any] = {"epoch": engine.state.epoch, "loss": loss}
        row |= {f"validation/{name}": value for name, value in validated.items()}
        row |= trained
        row |= {"lr": self._rate, "seconds": round(self._seconds[-1], 2)}
        add_row(self.path, row)

    def _validation(self, engine: SupervisedTrainer) -> dict[str, float]:
        """Give the metrics of this epoch's validation, none when there was no validation."""
        if self.evaluator is None or self.evaluator.state.epoch != engine.state.epoch:
            return {}
        return scalars(self.evaluator.state.metrics)

    def _line(
        self,
        engine: SupervisedTrainer,
        loss: float,
        validated: Mapping[str, float],
        trained: Mapping[str, float],
    ) -> str:
        epoch, epochs = engine.state.epoch, int(engine.state.max_epochs)
        parts = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}", f"loss {loss:.3f}"]
        if validated and self.evaluator is not None:
            state = self.evaluator.state
            name = str(state.key_metric_name).rpartition("/")[2]
            value = f"{float(state.best_metric):.3f}"
            best = f" (best {name} {value} at epoch {state.best_metric_epoch})"
            has_best = state.best_metric_epoch >= 1
            chosen = validated if self.figures is None else self.figures
            printed = {n: v for n, v in validated.items() if n in chosen}
            parts.append(f"validation {in_groups(printed)}{best if has_best else ''}")
        shown = {n: v for n, v in trained.items() if n.split("/")[0] in self.groups}
        if shown:
            parts.append(in_groups(shown))
        parts += [f"lr {self._rate:.2g}", self._time(epochs - epoch)]
        return "  ".join(parts)

    def _time(self, epochs_left: int) -> str:
        took = duration(self._seconds[-1])
        mean = sum(self._seconds) / len(self._seconds)
        return f"{took}, {duration(mean * epochs_left)} left" if epochs_left else took


def say(line: str) -> None:
    """Print a line of a training above its progress bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _batches(engine: SupervisedTrainer) -> str:
    """Say how many there are, and how many samples each epoch leaves over."""
    loader: Any = engine.data_loader
    text = str(engine.state.epoch_length)
    if getattr(loader, "drop_last", False) and hasattr(loader.sampler, "__len__"):
        left = len(loader.sampler) % loader.batch_size
        text += f" (each leaves {left} of {len(loader.sampler)} samples over)" if left else ""
    return text


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep the metrics that are single numbers, as Python floats."""
    return {str(name): float(value) for name, value in metrics.items() if is_scalar(value)}


def in_groups(metrics: Mapping[str, float]) -> str:
    """Write metrics on one line, with the part of a name before its slash only once.

    >>> in_groups({"dice/WT": 0.7123, "dice/TC": 0.62, "mean": 0.666})
    'dice WT 0.712 TC 0.620  mean 0.666'
    """
    groups: dict[str, list[str]] = {}
    for name, value in metrics.items():
        group, _, member = name.rpartition("/")
        groups.setdefault(group or name, []).append(
            f"{member} {value:.3f}" if group else f"{value:.3f}"
        )
    return "  ".join(f"{group} {' '.join(members)}" for group, members in groups.items())


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append an epoch to a table, in place of rows of this epoch and later ones.

    Args:
        path: a CSV file, made when missing; columns that it lacks are added.
        row: values by column; `epoch` is one of them.
    """
    rows: list[Mapping[str, Any]] = []
    if path.is_file():
        with open(path, newline="") as file:
            rows = [old for old in csv.DictReader(file) if _is_before(old, row["epoch"])]
    rows.append(row)
    write_csv(path, rows)


def _is_before(row: Mapping[str, Any], epoch: int) -> bool:
    return str(row.get("epoch", "")).isdecimal() and int(row["epoch"]) < epoch
