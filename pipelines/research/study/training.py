"""One training of a small network with one method, and its figures on validation and test."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.utils import set_determinism
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from ...balancing.method import Method
from ...balancing.optimization import parameter_groups
from ...balancing.scores import score_by_name
from ...balancing.tasks import ClassificationTask, RegressionTask, Task
from ...handlers.clipping import GradientClipping
from ...handlers.modulation import Modulation
from .network import SmallEnsemble, SmallNetwork, classifiers_of
from .sets import Part, Samples, as_it_is

EPOCHS, DECAY, CLIP = 30, 0.01, 0.8
SMALL, BATCHES = 700, (32, 64)  # training samples up to which the first size of a batch is taken


@dataclass
class Outcome:
    """What a training came to.

    Attributes:
        val: of the best epoch: accuracy, or 100 times the correlation of a regression, in percent.
        test: of that epoch's weights on the test part, likewise.
        epoch: the best one, from 1.
        factors: the method's balance at every step, (steps, M); without rows if it has none.
        classifiers: of the last epoch on the test part, by modality, likewise.
    """

    val: float = -np.inf
    test: float = np.nan
    epoch: int = 0
    factors: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    classifiers: dict[str, float] = field(default_factory=dict)


def train(
    samples: Samples,
    method: Method,
    *,
    seed: int,
    lr: float = 1e-3,
    score: str | None = None,
    epochs: int = EPOCHS,
    keep: Path | None = None,
) -> Outcome:
    """Train with MONAI's trainer and AdamW, keep the epoch that is best on validation, test it.

    Args:
        samples: the data.
        method: what to train with, fresh.
        seed: of the division, the weights and the batches; the same for every method.
        lr: learning rate; a tenth of it in the last third of the epochs.
        score: epsilon of eq. 6; accuracy, or mae for a regression, when not given.
        epochs: how many.
        keep: file for the weights of the best epoch.
    """
    set_determinism(seed=seed)
    parts = samples.divided(seed)
    inputs = samples.standardized(parts["train"])
    data = {name: Part(inputs, samples.labels, indices) for name, indices in parts.items()}
    network, classifiers = networks_for(method, inputs, samples.outputs)
    task = task_of(samples, score)
    trainer = trainer_of(data["train"], network, classifiers, task, lr, epochs)
    modulation = Modulation(method, network, task, classifiers)
    watched = Watched(network, modulation, samples, data["val"])
    for handler in (modulation, GradientClipping(network, max_norm=CLIP), watched):
        handler.attach(trainer)
    trainer.run()
    outcome = watched.outcome(data["test"])
    if keep is not None:
        torch.save(network.state_dict(), keep)
    return outcome


def networks_for(
    method: Method, inputs: Mapping[str, Tensor], outputs: int
) -> tuple[nn.Module, nn.ModuleDict | None]:
    """The network that a method trains, and its classifiers if it is no late fusion."""
    if method.late_fusion is not None:
        return SmallEnsemble(inputs, outputs, method.late_fusion), None
    network = SmallNetwork(inputs, outputs)
    return network, classifiers_of(network)


class Watched:
    """Handler that keeps the factors of every step, and the weights of the best epoch."""

    def __init__(
        self, network: nn.Module, modulation: Modulation, samples: Samples, val: Part
    ) -> None:
        self.network, self.modulation, self.samples, self.val = network, modulation, samples, val
        self.best = Outcome()
        self._weights: dict[str, Any] = {}
        self._factors: list[list[float]] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validate)

    def _note(self, _: SupervisedTrainer) -> None:
        balance = self.modulation.record.get("balance")
        if balance is not None:
            self._factors.append(list(balance.values()))

    def _validate(self, engine: SupervisedTrainer) -> None:
        found = judge(self.network, self.val, self.samples)
        if found > self.best.val:
            self.best.val, self.best.epoch = found, engine.state.epoch
            self._weights = copy.deepcopy(self.network.state_dict())

    def outcome(self, test: Part) -> Outcome:
        """Test the best epoch's weights, and the classifiers on the last epoch's features."""
        encoders, classifiers = self.modulation.encoders, self.modulation.classifiers
        for name, classifier in classifiers.items():
            alone = nn.Sequential(encoders[name], classifier)
            part = Part({name: test.inputs[name]}, test.labels, test.indices)
            self.best.classifiers[name] = judge(alone, part, self.samples, name)
        self.network.load_state_dict(self._weights)
        self.best.test = judge(self.network, test, self.samples)
        self.best.factors = torch.tensor(self._factors)
        return self.best


@torch.no_grad()
def judge(network: nn.Module, part: Part, samples: Samples, modality: str | None = None) -> float:
    """Accuracy, or 100 times the correlation of a regression, in percent."""
    network.eval()
    batch = part.whole()
    inputs = batch["inputs"] if modality is None else batch["inputs"][modality]
    prediction, label = network(inputs), batch["label"]
    if samples.classes:
        return 100 * float((prediction.argmax(1) == label).float().mean())
    both = np.stack([prediction[:, 0].numpy(), label[:, 0].numpy()])
    # A prediction that is the same for all correlates with nothing.
    return 100 * float(np.nan_to_num(np.corrcoef(both)[0, 1])) if both.std(1).min() > 0 else 0.0


def task_of(samples: Samples, score: str | None = None) -> Task:
    """Cross-entropy and accuracy, or L1 loss and the negative absolute error."""
    if samples.classes:
        scores = score_by_name(score or "accuracy", "classification")
        return ClassificationTask(nn.CrossEntropyLoss(), scores)
    return RegressionTask(nn.L1Loss(), score_by_name(score or "mae", "regression"))


def trainer_of(
    train: Part,
    network: nn.Module,
    classifiers: nn.ModuleDict | None,
    task: Task,
    lr: float,
    epochs: int = EPOCHS,
) -> SupervisedTrainer:
    """MONAI's trainer for a small network, without a method; arguments as of :func:`train`."""
    groups = parameter_groups(network, classifiers, lr=lr)
    made = torch.optim.AdamW(groups, lr=lr, weight_decay=DECAY)
    schedule: Any = torch.optim.lr_scheduler.StepLR(made, max(1, epochs * 2 // 3))
    size = BATCHES[0] if len(train) <= SMALL else BATCHES[1]
    loader = DataLoader(
        train, size, sampler=RandomSampler(train), drop_last=True, collate_fn=as_it_is
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=made,
        loss_function=task.loss,
        prepare_batch=lambda batch, *_, **__: (batch["inputs"], batch["label"]),
        decollate=False,
    )
    LrScheduleHandler(schedule, print_lr=False).attach(trainer)
    return trainer
