"""Stopping, resuming and being killed."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cggm.data.errors import InputError
from cggm.pipelines.handlers.checkpoint_file import load_network, read, save
from cggm.pipelines.handlers.checkpoints import TrainingCheckpoint
from cggm.pipelines.handlers.learning_rate import warmup_cosine
from cggm.pipelines.handlers.progress import SetEpoch
from cggm.pipelines.handlers.weight_average import WeightAverage

from ..children import in_a_child


class Points(Dataset):
    """Points drawn from the epoch, as the slices are."""

    def __init__(self, length: int = 8) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * self.epoch + index)
        point = torch.randn(3, generator=generator)
        return {"image": point, "label": point.sum(dim=0, keepdim=True)}


class Memory:
    """Something with a state, as a method has."""

    def __init__(self) -> None:
        self.balance = {"flair": 1.0}

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._forget_some)

    def _forget_some(self) -> None:
        self.balance["flair"] *= 0.5 * float(np.random.rand())

    def state_dict(self) -> dict[str, Any]:
        return {"balance": dict(self.balance), "score": np.float64(0.5)}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.balance = dict(state_dict["balance"])


class Run:
    """All objects of a small training, as a new process would build them."""

    def __init__(self, folder: Path, epochs: int = 4, **changes: Any) -> None:
        metrics: list[float] | None = changes.pop("metrics", None)
        width: int = changes.pop("width", 5)
        before: list[Any] = changes.pop("before", [])
        ema: float = changes.pop("ema", 0)
        torch.manual_seed(0)
        np.random.seed(0)
        self.network = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Linear(width, 1))
        self.classifiers = nn.ModuleDict({"flair": nn.Linear(3, 1)})
        groups = [
            {"params": self.network.parameters(), "lr": 0.05},
            {"params": self.classifiers.parameters(), "lr": 0.01},
        ]
        self.optimizer = torch.optim.SGD(groups, momentum=0.9)
        data = Points(changes.pop("points", 8))
        loader = DataLoader(data, batch_size=2, shuffle=True)
        self.scheduler = warmup_cosine(
            self.optimizer, epochs=4, epoch_length=len(loader), warmup_epochs=1
        )
        self.method = Memory()
        self.average = WeightAverage(self.network, ema) if ema else None
        self.evaluator = None if metrics is None else self._evaluator(metrics)
        self.checkpoint = TrainingCheckpoint(
            folder,
            network=self.network,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            method=self.method,
            classifiers=self.classifiers,
            average=self.average,
            evaluator=self.evaluator,
            **changes,
        )
        handlers: list[Any] = [*before, SetEpoch(data), self.method]
        handlers.append(LrScheduleHandler(self.scheduler, print_lr=False, epoch_level=False))
        if self.average is not None:
            handlers.append(self.average)
        if self.evaluator is not None:
            handlers.append(ValidationHandler(1, self.evaluator))
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=loader,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=nn.MSELoss(),
            train_handlers=[*handlers, self.checkpoint],
        )

    def _evaluator(self, metrics: list[float]) -> SupervisedEvaluator:
        """Validate with a given metric for every epoch."""
        given = Average(output_transform=lambda _: metrics[self.trainer.state.epoch - 1])
        return SupervisedEvaluator(
            device="cpu",
            val_data_loader=DataLoader(Points(2)),
            network=self.network,
            key_val_metric={"dice": given},
        )

    def go(self) -> "Run":
        self.trainer.run()
        return self


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_resuming_equals_not_stopping(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", 4, metrics=[0.1, 0.2, 0.3, 0.4]).go()
    Run(tmp_path / "cut", 2, metrics=[0.1, 0.2]).go()
    resumed = Run(tmp_path / "cut", 4, metrics=[0, 0, 0.3, 0.4], resume=True).go()
    assert resumed.trainer.state.epoch == 4
    assert equal(whole.network, resumed.network)
    assert whole.method.balance == resumed.method.balance
    assert (
        whole.optimizer.state_dict()["param_groups"]
        == (resumed.optimizer.state_dict()["param_groups"])
    )


def test_the_test_above_can_fail(tmp_path: Path) -> None:
    """Without the random states the resumed run drops and shuffles other units."""
    whole = Run(tmp_path / "whole", 4).go()
    Run(tmp_path / "cut", 2).go()
    content = read(tmp_path / "cut" / "last.pt")
    torch.manual_seed(99)
    content["rng"]["torch"] = torch.get_rng_state()
    save(content, tmp_path / "cut" / "last.pt")
    assert not equal(whole.network, Run(tmp_path / "cut", 4, resume=True).go().network)


def test_model_holds_the_best_epoch_also_across_a_restart(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, metrics=[0.9, 0.1])
    best: dict[str, Tensor] = {}
    best_classifiers: dict[str, Tensor] = {}

    @run.trainer.on(Events.EPOCH_COMPLETED(once=1))
    def _() -> None:
        best.update({k: v.clone() for k, v in run.network.state_dict().items()})
        best_classifiers.update({k: v.clone() for k, v in run.classifiers.state_dict().items()})

    run.go()
    Run(tmp_path, 4, metrics=[0, 0, 0.3, 0.4], resume=True).go()
    model = read(tmp_path / "model.pt")
    assert all(torch.equal(model[key], best[key]) for key in best)
    beside = read(tmp_path / "classifiers.pt")
    assert all(torch.equal(beside[key], best_classifiers[key]) for key in best_classifiers)
    assert read(tmp_path / "last.pt")["best"] == {"metric": 0.9, "epoch": 1}


def test_the_description_tells_what_validation_measured(tmp_path: Path) -> None:
    """In `model.json` what belongs to the best epoch, in `last.pt` what was measured last."""
    told = {1: 0.1, 2: 0.2, 3: 0.3}  # epoch: size

    def run(epochs: int, **more: Any) -> Run:
        run = Run(
            tmp_path,
            epochs,
            metrics=[0.1, 0.5, 0.2, 0.2],
            description={"kind": "small"},
            measured={"size": lambda: told.get(run.trainer.state.epoch)},
            **more,
        )
        return run.go()

    run(3)
    best = {"kind": "small", "size": 0.2}
    assert json.loads((tmp_path / "model.json").read_text()) == best
    assert read(tmp_path / "last.pt")["description"] == best | {"size": 0.3}
    run(4, resume=True)  # measures nothing
    assert json.loads((tmp_path / "model.json").read_text()) == best
    assert read(tmp_path / "last.pt")["description"] == best | {"size": 0.3}


def test_a_first_metric_of_nan_does_not_win_for_ever(tmp_path: Path) -> None:
    Run(tmp_path, 3, metrics=[float("nan"), 0.2, 0.1]).go()
    assert read(tmp_path / "last.pt")["best"]["epoch"] == 2


def test_model_without_an_evaluator_is_the_last_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path, 2).go()
    fresh = Run(tmp_path / "other").network
    assert equal(load_network(tmp_path / "model.pt", fresh), run.network)
    assert equal(load_network(tmp_path / "last.pt", Run(tmp_path / "other").network), run.network)


def test_a_fresh_start_moves_an_earlier_run(tmp_path: Path, capsys: Any) -> None:
    first = Run(tmp_path, 1).go()
    Run(tmp_path, 1).go()
    assert f"moved an earlier run to {tmp_path / 'earlier-1'}" in capsys.readouterr().out
    Run(tmp_path, 1).go()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"earlier-1", "earlier-2", "last.pt", "model.pt", "classifiers.pt"}
    kept = load_network(tmp_path / "earlier-1" / "model.pt", Run(tmp_path).network)
    assert equal(kept, first.network)


def test_a_finished_training_says_so_and_trains_no_more(tmp_path: Path, capsys: Any) -> None:
    done = Run(tmp_path, 2).go()
    again = Run(tmp_path, 2, resume=True).go()
    assert "already trained for 2 epochs; ask for more (--epochs)" in capsys.readouterr().out
    assert equal(done.network, again.network)
    assert again.trainer.state.epoch == 2


def test_refuses_to_resume_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to resume: .*last.pt is missing"):
        Run(tmp_path, resume=True).go()


@pytest.mark.parametrize(
    ("epochs", "changes", "message"),
    [
        (1, {}, "already trained for 2 epochs, more than the 1 asked for; ask for more than"),
        (3, {"points": 6}, "with 4 batches per epoch, this run has 3; resume with the data"),
        (
            3,
            {"description": {"encoder": "resnet18", "sequences": ["t1", "t2"]}},
            "with encoder resnet50; this run builds resnet18: build what .*--encoder resnet50",
        ),
    ],
)
def test_refuses_another_run(
    tmp_path: Path, epochs: int, changes: dict[str, Any], message: str
) -> None:
    Run(tmp_path, 2, description={"encoder": "resnet50", "sequences": ("t1", "t2")}).go()
    with pytest.raises(InputError, match=message):
        Run(tmp_path, epochs, resume=True, **changes).go()


def test_refuses_an_optimizer_with_other_settings(tmp_path: Path) -> None:
    """Its state in the file would win without a word."""
    Run(tmp_path, 1).go()
    run = Run(tmp_path, 2, resume=True)
    for group in run.optimizer.param_groups:
        group["momentum"] = 0.5
    message = r"with momentum of the optimizer \[0.9, 0.9\]; this run has \[0.5, 0.5\]: resume with"
    with pytest.raises(InputError, match=message):
        run.go()
    Run(tmp_path / "told", 1, settings={"momentum": 0.9}).go()
    run = Run(tmp_path / "told", 2, resume=True, settings={"momentum": 0.5})
    run.optimizer.param_groups[0]["momentum"] = 0.5
    with pytest.raises(InputError, match=r"has 0.5: resume with those .*\(--momentum 0.9\)"):
        run.go()


def test_refuses_another_network_by_its_entries(tmp_path: Path) -> None:
    Run(tmp_path, 1).go()
    message = r"another network: 3 of its entries differ, such as 0.bias \(\(5,\) in the file, \(7,"
    with pytest.raises(InputError, match=message):
        Run(tmp_path, 2, resume=True, width=7).go()


def test_refuses_a_run_without_a_part_that_was_trained(tmp_path: Path) -> None:
    Run(tmp_path, 1).go()
    run = Run(tmp_path, 2, resume=True)
    del run.checkpoint.parts["method"]
    with pytest.raises(InputError, match="holds a method, unlike this run"):
        run.go()


def test_only_the_first_of_two_processes_writes(tmp_path: Path) -> None:
    def train(rank: int, folder: Path, epochs: int, resume: bool) -> None:
        rendezvous = f"file://{tmp_path / f'{folder.name}-{epochs}'}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        run = Run(folder, epochs, resume=resume)
        run.checkpoint.network = run.trainer.network = nn.parallel.DistributedDataParallel(
            run.network
        )
        run.go()
        torch.save(run.network.state_dict(), tmp_path / f"rank{rank}.pt")

    def both(folder: Path, epochs: int, resume: bool = False) -> None:
        children = [in_a_child(partial(train, rank, folder, epochs, resume)) for rank in range(2)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]

    both(tmp_path / "whole", 3)
    both(tmp_path / "cut", 1)
    both(tmp_path / "cut", 3, resume=True)
    names = sorted(p.name for p in (tmp_path / "cut").iterdir())
    assert names == ["classifiers.pt", "last.pt", "model.pt"]
    resumed, whole = (read(tmp_path / name / "model.pt") for name in ("cut", "whole"))
    assert not any(key.startswith("module.") for key in resumed)
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    ranks = [read(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    assert all(torch.equal(ranks[0][key], ranks[1][key]) for key in ranks[0])


def test_scaler_state_survives(tmp_path: Path) -> None:
    """A loss scaler for the CPU stands in for the GPU's, which the trainer makes in `run`."""

    class Scaler:
        def __init__(self, scale: float) -> None:
            self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)

        def attach(self, engine: SupervisedTrainer) -> None:
            engine.add_event_handler(Events.STARTED, self)

        def __call__(self, engine: SupervisedTrainer) -> None:
            engine.scaler = self.scaler  # type: ignore[assignment]

    def run(resume: bool, scale: float) -> float:
        scaler = Scaler(scale)
        run = Run(tmp_path, 2 if resume else 1, resume=resume, before=[scaler])
        run.trainer.amp = True
        run.go()
        return scaler.scaler.get_scale()

    run(False, 256.0)
    assert run(True, 8.0) == 256.0


def test_a_training_that_cannot_start_leaves_the_earlier_one(tmp_path: Path) -> None:
    Run(tmp_path, 1).go()
    run = Run(tmp_path, 1)
    run.trainer.loss_function = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run.go()
    assert (tmp_path / "model.pt").is_file()
    assert not (tmp_path / "earlier-1").exists()


def test_further_records_move_with_an_earlier_run(tmp_path: Path) -> None:
    record = tmp_path / "history.csv"
    record.write_text("old")
    Run(tmp_path / "models", 1).go()
    Run(tmp_path / "models", 1, records=[record]).go()
    assert (tmp_path / "models" / "earlier-1" / "history.csv").read_text() == "old"
    assert not record.exists()


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    run = Run(tmp_path, 1)
    run.optimizer.param_groups[0]["lr"] = run.scheduler.base_lrs[0] = float("inf")
    with pytest.raises(InputError, match="no longer finite after epoch 1; nothing was saved"):
        run.go()
    assert not (tmp_path / "model.pt").exists()
    save({"weight": torch.full((1, 3), torch.nan), "bias": torch.zeros(1)}, tmp_path / "bad.pt")
    with pytest.raises(InputError, match="bad.pt holds weights that are NaN or infinite"):
        load_network(tmp_path / "bad.pt", nn.Linear(3, 1))
