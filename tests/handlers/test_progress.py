"""Lines printed and rows kept per epoch."""

import csv
import doctest
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn
from torch.utils.data import DataLoader

from cggm.data.errors import InputError
from cggm.pipelines.handlers import progress
from cggm.pipelines.handlers.learning_rate import warmup_cosine
from cggm.pipelines.handlers.progress import Announcement, EpochLog, SetEpoch, add_row

ITEMS = [{"image": torch.ones(2), "label": torch.zeros(1)}] * 4


class Balance:
    """Puts metrics on the trainer, as modulation does."""

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        engine.state.metrics.update({"balance/flair": 0.914, "balance/t1": 1.1, "cosine/t1": 0.5})


def build(
    folder: Path,
    epochs: int = 3,
    validate_every: int | None = None,
    before: Sequence[Any] = (),
    facts: dict[str, object] | None = None,
    **settings: Any,
) -> SupervisedTrainer:
    network = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    schedule = warmup_cosine(optimizer, epochs=epochs, epoch_length=2, warmup_epochs=0)
    handlers: list[Any] = [LrScheduleHandler(schedule, print_lr=False, epoch_level=False)]
    evaluator = None
    if validate_every:
        evaluator = SupervisedEvaluator(
            device="cpu",
            val_data_loader=DataLoader(ITEMS),  # type: ignore[arg-type]
            network=network,
            key_val_metric={"mean": Average(output_transform=lambda _: 0.625)},
            additional_metrics={
                "dice/WT": Average(output_transform=lambda _: 0.75),
                "dice/TC": Average(output_transform=lambda _: 0.5),
            },
        )
        handlers.append(ValidationHandler(validate_every, evaluator))
    log = EpochLog(folder, optimizer=optimizer, evaluator=evaluator, **settings)
    return SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(ITEMS, batch_size=2),  # type: ignore[arg-type]
        network=network,
        optimizer=optimizer,
        loss_function=nn.MSELoss(),
        train_handlers=[Announcement(optimizer, facts), *before, *handlers, Balance(), log],
    )


def build_slow(folder: Path) -> SupervisedTrainer:
    """Give batches that take longer than the interval at which the bar is drawn."""
    trainer = build(folder)
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: time.sleep(0.15))
    return trainer


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_one_line_per_epoch_with_everything_on_it(tmp_path: Path, capsys: Any) -> None:
    build(tmp_path, validate_every=1, facts={"cases": "4 to train"}).run()
    lines = capsys.readouterr().out.splitlines()
    header = ["device: cpu", "trained parameters: 3", "batches per epoch: 2", "cases: 4 to train"]
    assert lines[:4] == header
    assert len(lines) == 7
    assert re.fullmatch(
        r"epoch 1/3  loss \d+\.\d{3}  validation mean 0\.625  dice WT 0\.750 TC 0\.500 "
        r"\(best mean 0\.625 at epoch 1\)  balance flair 0\.914 t1 1\.100  lr 0\.0094  "
        r"\d\.\d s, \d+(\.\d)? s left",
        lines[4],
    )
    assert "left" not in lines[6]


def test_a_training_that_is_refused_announces_nothing(tmp_path: Path, capsys: Any) -> None:
    trainer = build(tmp_path)

    def refuse() -> None:
        raise InputError("this run does not fit")

    trainer.add_event_handler(Events.STARTED, refuse)
    with pytest.raises(InputError):
        trainer.run()
    assert capsys.readouterr().out == ""


def test_the_announcement_comes_before_what_a_method_does_in_an_epoch(
    tmp_path: Path, capsys: Any
) -> None:
    class Trial:
        def attach(self, engine: SupervisedTrainer) -> None:
            engine.add_event_handler(Events.EPOCH_STARTED, lambda: print("a trial"))

    build(tmp_path, before=[Trial()]).run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "device: cpu" and lines.count("a trial") == 3
    assert sum(line.startswith("device") for line in lines) == 1


def test_works_without_an_evaluator(tmp_path: Path, capsys: Any) -> None:
    build(tmp_path).run()
    assert "validation" not in capsys.readouterr().out
    assert list(rows(tmp_path)[0]) == [
        "epoch",
        "loss",
        "balance/flair",
        "balance/t1",
        "cosine/t1",
        "lr",
        "seconds",
    ]


def test_shows_validation_only_when_there_was_one(tmp_path: Path, capsys: Any) -> None:
    build(tmp_path, epochs=4, validate_every=2).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert ["validation" in line for line in lines] == [False, True, False, True]
    assert [row["validation/dice/WT"] for row in rows(tmp_path)] == ["", "0.75", "", "0.75"]


def test_first_row_has_the_rate_that_was_used(tmp_path: Path) -> None:
    """The schedule has moved on by the end of the epoch."""
    build(tmp_path, epochs=1).run()
    assert float(rows(tmp_path)[0]["lr"]) == pytest.approx(0.0055)


def test_rows_of_epochs_that_are_done_again_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    for epoch in (1, 2, 3):
        add_row(path, {"epoch": epoch, "loss": 1.0})
    add_row(path, {"epoch": 2, "loss": 0.5, "balance/t1": 1.0})
    assert rows(tmp_path) == [
        {"epoch": "1", "loss": "1.0", "balance/t1": ""},
        {"epoch": "2", "loss": "0.5", "balance/t1": "1.0"},
    ]


def test_a_bar_on_a_terminal_leaves_the_lines_whole(tmp_path: Path) -> None:
    child, screen = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        try:
            with open(1, "w", closefd=False) as terminal:
                sys.stdout = sys.stderr = terminal
                build_slow(tmp_path).run()
        finally:
            os._exit(0)
    shown = b""
    while True:
        try:
            shown += os.read(screen, 4096)
        except OSError:  # the other end is closed
            break
    os.waitpid(child, 0)
    os.close(screen)
    pieces = re.split(r"[\r\n]+", shown.decode())
    assert sum(bool(re.match(r"epoch \d/3  loss", piece)) for piece in pieces) == 3, pieces
    assert any(re.search(r"epoch \[1/3\]: \[[12]/2\]", piece) for piece in pieces), pieces


class Drawn:
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def test_data_hear_of_every_epoch(tmp_path: Path) -> None:
    data = Drawn()
    trainer = build(tmp_path)
    SetEpoch(data).attach(trainer)
    trainer.run()
    assert data.epochs == [1, 2, 3]


def test_refuses_workers_that_would_not_hear_of_it(tmp_path: Path) -> None:
    trainer = build(tmp_path)
    trainer.data_loader = DataLoader(ITEMS, num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set persistent_workers to false"):
        SetEpoch(Drawn()).attach(trainer)


def test_examples() -> None:
    assert doctest.testmod(progress).failed == 0
