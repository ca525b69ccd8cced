"""Checkpoints of a training: the best weights, and all that resuming it exactly needs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedTrainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ...data.errors import InputError
from ...data.files import remove_leftovers, write_json
from ..balancing.distributed import is_main_process
from .checkpoint_file import check_fit, is_finite, load_network, read, save
from .same_run import check_settings, plain_settings, settings_of_states
from .weight_average import WeightAverage

__all__ = ["Stateful", "TrainingCheckpoint", "load_network"]

_OWN_FILES = ("last.pt", "model.pt", "classifiers.pt", "model.json")


class Stateful(Protocol):
    """Anything with memory: tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class TrainingCheckpoint:
    """Handler that saves training after every epoch, and takes it up again.

    `last.pt` holds everything, so that stopping and resuming gives the same weights, bit for bit,
    as not stopping (one process, on the CPU, data drawn from the seed and the epoch, and whole
    passes through the data loader as epochs). `model.pt` holds the network's bare state
    dictionary from the epoch with the best validation metric; without any validation, from the
    last epoch. `classifiers.pt` holds the classifiers of the same epoch, `model.json` the
    description. Each is replaced in one step: a kill at any moment leaves a readable file.
    (ignite's `Checkpoint` removes the file of a fixed name before it writes the next one.)

    Put it after the validation handler in the trainer's list. In distributed training rank 0
    writes, and its random states are restored on every rank.

    Args:
        folder: where the files go. A fresh start moves what an earlier run left there to
            `earlier-1`, `earlier-2`, …
        network: the network that is trained, wrapped in DistributedDataParallel or not, but not
            the output of `torch.compile`.
        optimizer: of the trainer.
        scheduler: learning rate schedule.
        method: what modulates gradients, or its handler.
        classifiers: auxiliary classifiers, kept out of `model.pt`.
        average: of the network's weights; the averaged ones are what both files hold as the
            network's.
        evaluator: its best key metric chooses `model.pt`.
        records: further files of the run, moved away by a fresh start too.
        resume: take up `last.pt` instead of starting anew, as if training had not been stopped:
            with other settings it is refused.
        description: what the network is (`{"encoder": "resnet18", "sequences": [...]}`), with the
            names of the settings as keys; a checkpoint described otherwise is refused.
        measured: what validation says of the network beyond its metric, by the name under which the
            description tells it; asked when weights are saved, None before any validation.
        settings: how it is trained, by the names on the command line, and below "data" what it is
            trained on, as digests; the number of epochs is none of them.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        network: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None = None,
        method: Stateful | None = None,
        classifiers: nn.Module | None = None,
        average: WeightAverage | None = None,
        evaluator: Evaluator | None = None,
        records: Sequence[str | Path] = (),
        resume: bool = False,
        description: Mapping[str, Any] | None = None,
        measured: Mapping[str, Callable[[], Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.network = network if average is None else average.network
        self.evaluator = evaluator
        self.records = [Path(file) for file in records]
        self.resume = resume
        self._is_fresh = False
        self.description = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in (description or {}).items()
        }
        self.measured = dict(measured or {})
        self._measured_before: dict[str, Any] = {}
        self.settings = plain_settings(settings or {})
        parts = {"optimizer": optimizer, "scheduler": scheduler, "method": method}
        parts["moving_average"] = average
        self.parts: dict[str, Stateful] = {k: v for k, v in parts.items() if v is not None}
        if classifiers is not None:
            self.parts["classifiers"] = _unwrapped(classifiers)

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stepped)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: SupervisedTrainer) -> None:
        """Write `model.pt` if the network is the best so far, then `last.pt`.

        In this order a kill in between costs nothing: `last.pt` never claims an epoch whose
        weights are not in `model.pt`.
        """
        self._forget_nan()
        if not is_finite(_unwrapped(self.network).state_dict()):
            raise InputError(
                f"the network's weights are no longer finite after epoch {engine.state.epoch}; "
                "nothing was saved of it: train with a lower learning rate (--lr), or clip "
                "gradients (--max_norm)"
            )
        if not is_main_process():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Until the first validation the latest weights stand in: a short run has a `model.pt` too.
        if self._best()["epoch"] in (-1, engine.state.epoch):
            if self.description:
                write_json(self.folder / "model.json", self._described())
            save(_unwrapped(self.network).state_dict(), self.folder / "model.pt")
            if "classifiers" in self.parts:
                save(self.parts["classifiers"].state_dict(), self.folder / "classifiers.pt")
        save(self._content(engine), self.folder / "last.pt")

    def _content(self, engine: SupervisedTrainer) -> dict[str, Any]:
        state = engine.state
        names = ("epoch", "iteration", "epoch_length", "max_epochs")
        return {
            "network": _unwrapped(self.network).state_dict(),
            **{name: _plain(part.state_dict()) for name, part in self.parts.items()},
            "trainer": {name: getattr(state, name) for name in names},
            "scaler": engine.scaler.state_dict() if engine.amp and engine.scaler else {},
            "best": self._best(),
            "rng": _random_states(),
            "description": self._described(),
            "settings": self.settings,
            "versions": {name: version(name) for name in ("torch", "monai", "cggm")},
        }

    def _described(self) -> dict[str, Any]:
        """The description with what the last validation measured, that before a resume included."""
        now = {name: ask() for name, ask in self.measured.items()}
        told = {name: value for name, value in now.items() if value is not None}
        return self.description | self._measured_before | told

    def _start(self, engine: SupervisedTrainer) -> None:
        if is_main_process():
            for name in _OWN_FILES:
                remove_leftovers(self.folder / name)
        if self.resume:
            self._restore(engine, self.folder / "last.pt")
        self._is_fresh = not self.resume

    def _stepped(self, engine: SupervisedTrainer) -> None:
        """Only a training that works takes the place of an earlier one."""
        if self._is_fresh and is_main_process():
            self._move_earlier_run()
        self._is_fresh = False

    def _restore(self, engine: SupervisedTrainer, path: Path) -> None:
        if not path.is_file():
            raise InputError(
                f"there is nothing to resume: {path} is missing; pass the output folder of the "
                "run to go on with, or leave resume out"
            )
        content = read(path)
        if "network" not in content or "trainer" not in content:
            raise InputError(f"{path} holds no whole training run, so it cannot be resumed")
        network = _unwrapped(self.network)
        check_fit(path, network, content["network"], content["description"], self.description)
        self._check_settings(content, path)
        self._check_run(engine, content, path)
        network.load_state_dict(content["network"])
        told = content["description"]
        self._measured_before = {name: told[name] for name in self.measured if name in told}
        for name, part in self.parts.items():
            _load(part, content[name], f"the {name} in {path}")
        if content["scaler"] and engine.amp and engine.scaler:
            engine.scaler.load_state_dict(content["scaler"])
        if self.evaluator is not None:
            self.evaluator.state.best_metric = content["best"]["metric"]
            self.evaluator.state.best_metric_epoch = content["best"]["epoch"]
        engine.state.epoch = content["trainer"]["epoch"]
        engine.state.iteration = content["trainer"]["iteration"]
        # Last, since nothing may draw a random number between here and the next batch.
        _restore_random_states(content["rng"])

    def _check_settings(self, content: dict[str, Any], path: Path) -> None:
        names = [name for name in ("optimizer", "scheduler") if name in self.parts]
        trained = settings_of_states({name: content[name] for name in names if name in content})
        now = settings_of_states({name: self.parts[name].state_dict() for name in names})
        check_settings(content.get("settings", {}) | trained, self.settings | now, path)

    def _check_run(self, engine: SupervisedTrainer, content: dict[str, Any], path: Path) -> None:
        missing = [name for name in self.parts if name not in content]
        parts = {"optimizer", "scheduler", "method", "moving_average", "classifiers"}
        stored = parts & content.keys()
        differing = missing or sorted(stored - self.parts.keys())
        if differing:
            has = "holds no" if missing else "holds a"
            raise InputError(
                f"{path} {has} {' and no '.join(differing)}, unlike this run; resume with the "
                "settings of the first run"
            )
        before, length = content["trainer"], engine.state.epoch_length
        if before["epoch_length"] != length:
            raise InputError(
                f"{path} was trained with {before['epoch_length']} batches per epoch, this run "
                f"has {length}; resume with the data, batch size and processes of the first run"
            )
        done, epochs = before["epoch"], engine.state.max_epochs
        if done > epochs:
            raise InputError(
                f"{path} is already trained for {done} epochs, more than the {epochs} asked for; "
                f"ask for more than {done} (--epochs) to go on"
            )
        if done == epochs and is_main_process():
            print(
                f"already trained for {done} epochs; ask for more (--epochs) to go on", flush=True
            )

    def _best(self) -> dict[str, Any]:
        if self.evaluator is None:
            return {"metric": -1.0, "epoch": -1}
        state = self.evaluator.state
        return {"metric": float(state.best_metric), "epoch": int(state.best_metric_epoch)}

    def _forget_nan(self) -> None:
        """Undo MONAI's choice of a first metric that is NaN, which no later one could exceed."""
        if self.evaluator is not None and math.isnan(self._best()["metric"]):
            self.evaluator.state.best_metric = -1
            self.evaluator.state.best_metric_epoch = -1

    def _move_earlier_run(self) -> None:
        files = [self.folder / name for name in _OWN_FILES] + self.records
        files = [file for file in files if file.exists()]
        if not files:
            return
        number = 1
        while (self.folder / f"earlier-{number}").exists():
            number += 1
        target = self.folder / f"earlier-{number}"
        target.mkdir()
        for file in files:
            file.rename(target / file.name)
        print(
            f"moved an earlier run to {target}; resume=True (--resume True on the command line) "
            "would have gone on with it"
        )


def _load(part: Stateful, state: dict[str, Any], what: str) -> None:
    try:
        part.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{what} does not fit this run ({str(error).splitlines()[0]}); resume with the "
            "settings of the first run"
        ) from error


def _random_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = cast("Any", np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def _plain(value: Any) -> Any:
    """Turn NumPy numbers into Python's, which torch.load(weights_only=True) accepts."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _unwrapped(module: nn.Module) -> nn.Module:
    wrapped = isinstance(module, nn.parallel.DistributedDataParallel)
    return module.module if wrapped else module
