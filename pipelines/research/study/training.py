"""One training of a small network with one method, in a plain loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss
from torch.utils.data import DataLoader

from ...balancing import Balancer, ModalityDropout, Task
from ...balancing.method import Method
from ...balancing.record import Record
from ...balancing.tasks import task_by_score
from ...methods import ProgressRates
from .families import Part
from .network import SmallEnsemble, SmallNetwork, classifiers_of

EPOCHS = {"classification": 16, "regression": 16, "segmentation": 14}
BATCH = {"classification": 64, "regression": 64, "segmentation": 16}
RATES = {"adamw": (1e-3, 3e-3, 1e-2, 3e-2), "sgd": (0.03, 0.1, 0.3, 1.0)}
DECAY, MOMENTUM, CLIP = 1e-3, 0.9, 0.8
Loss = Callable[[Tensor, Tensor], Tensor]
PERIODS = 5  # of a training, for which means of factors are kept
SCORES = {"classification": "accuracy", "regression": "mae", "segmentation": "dice"}
# Scores without steps, as the bundles give it (docs/methods.md).
SMOOTH = {"classification": "probability", "regression": "mae", "segmentation": "soft_dice"}


@dataclass
class Outcome:
    """What a training came to; all scores in points, see :func:`points`.

    Attributes:
        val: of the best epoch on validation.
        test: of that epoch's weights; None without test samples.
        epoch: the best one, from 1.
        missing: test score without each modality, its features masked in the fusion.
        classifiers: test score of each classifier, of that epoch too.
        factors: means of the method's factors per modality, in each of five periods of the
            training; empty where it has none.
        gradients: likewise the norms of the encoders' gradients, before modulation.
    """

    val: float = -np.inf
    test: float | None = None
    epoch: int = 0
    missing: dict[str, float] = field(default_factory=dict)
    classifiers: dict[str, float] = field(default_factory=dict)
    factors: list[list[float]] = field(default_factory=list)
    gradients: list[list[float]] = field(default_factory=list)


def train(
    parts: Mapping[str, Part],
    task: str,
    method: Method,
    *,
    seed: int,
    lr: float,
    optimizer: str = "adamw",
    dropout: float = 0.0,
    classes: int = 4,
    epochs: int | None = None,
    factors: Mapping[str, float] | None = None,
    loss: Loss | None = None,
) -> Outcome:
    """Train, keep the epoch that is best on validation, test it.

    Args:
        parts: "train", "val" and perhaps "test".
        task: which kind.
        method: what to train with, fresh.
        seed: of weights, batches and dropout; the same for every method.
        lr: learning rate; a tenth of it in the last third of the epochs.
        optimizer: "adamw", or "sgd" with momentum.
        dropout: probability of modality dropout.
        classes: how many, where the task has any.
        epochs: how many; by default those of the task.
        factors: of the learning rate, by the modality whose encoder has it.
        loss: instead of cross-entropy or L1.
    """
    torch.manual_seed(seed)
    inputs, outputs = parts["train"].inputs, 1 if task == "regression" else classes
    per_pixel = task == "segmentation"
    network: nn.Module
    if method.late_fusion is not None:
        network, classifiers = (
            SmallEnsemble(inputs, outputs, method.late_fusion, per_pixel=per_pixel),
            None,
        )
    else:
        network = SmallNetwork(inputs, outputs, per_pixel=per_pixel)
        classifiers = classifiers_of(network)
    balancer = Balancer(
        method,
        network,
        task_for(task, method, loss),
        classifiers,
        dropout=ModalityDropout(dropout, seed=seed) if dropout else None,
    )
    groups = balancer.parameter_groups(lr=lr)
    for group in groups:
        group["lr"] *= (factors or {}).get(group["name"].removeprefix("encoder/"), 1.0)
    balancer.optimizer = made = (
        torch.optim.AdamW(groups, lr=lr, weight_decay=DECAY, fused=True)
        if optimizer == "adamw"
        else torch.optim.SGD(groups, lr=lr, weight_decay=DECAY, momentum=MOMENTUM)
    )
    batches = batches_of(parts["train"], min(BATCH[task], len(parts["train"])), seed)
    return _run(balancer, made, batches, parts, task, epochs or EPOCHS[task])


def _run(
    balancer: Balancer,
    optimizer: torch.optim.Optimizer,
    batches: DataLoader[dict[str, Any]],
    parts: Mapping[str, Part],
    task: str,
    epochs: int,
) -> Outcome:
    network, parameters = balancer.network, list(balancer.network.parameters())
    trained = nn.ModuleDict(
        {"network": network, "classifiers": nn.ModuleDict(balancer.classifiers)}
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, epochs * 2 // 3))
    outcome, best, records = Outcome(), copy.deepcopy(trained.state_dict()), []
    for epoch in balancer.epochs(epochs, batches, prepare_batch=prepare_batch):
        network.train()
        for batch in batches:
            inputs, label = prepare_batch(batch)
            optimizer.zero_grad()
            with balancer.capture():
                prediction = network(inputs)
            balancer.loss(prediction, label, ids=batch["id"], last=False).backward()
            with balancer.modulate():
                nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
            records.append(balancer.record)
        schedule.step()
        found = judge(network, parts["val"], task)
        if found > outcome.val:
            outcome.val, outcome.epoch = found, epoch
            best = copy.deepcopy(trained.state_dict())
    trained.load_state_dict(best)
    outcome.factors = means(records, "balance")
    outcome.gradients = means(records, "gradient_norm")
    if "test" in parts:
        _test(balancer, parts["test"], task, outcome)
    return outcome


@torch.no_grad()
def _test(balancer: Balancer, test: Part, task: str, outcome: Outcome) -> None:
    network = balancer.network.eval()
    if not isinstance(network, SmallNetwork):
        outcome.test = judge(network, test, task)
        return
    features = network.encode(test.inputs)
    outcome.test = points(network.fuse(features), test.label, task)
    for name, feature in features.items():
        prediction = balancer.classifiers[name](feature)
        outcome.classifiers[name] = points(prediction, test.label, task)
        if len(features) > 1:
            masked = features | {name: torch.zeros_like(feature)}
            outcome.missing[name] = points(network.fuse(masked), test.label, task)


def batches_of(part: Part, size: int, seed: int) -> DataLoader[dict[str, Any]]:
    """Shuffled batches; a new order for each epoch, an incomplete last one is dropped.

    Args:
        part: the samples.
        size: of a batch.
        seed: of the orders.
    """
    order = torch.Generator().manual_seed(seed)
    return DataLoader(
        part, size, shuffle=True, drop_last=True, generator=order, collate_fn=_as_it_is
    )


def prepare_batch(batch: dict[str, Any], *_: Any) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs and label of a batch, as a :class:`.Balancer` asks for them."""
    return batch["inputs"], batch["label"]


def _as_it_is(batch: Any) -> Any:
    """A part gives whole batches."""
    return batch


def task_for(task: str, method: Method, loss: Loss | None = None) -> Task:
    """Cross-entropy or L1 loss; the paper's scores, or smooth ones for progress rates."""
    scores = SMOOTH if isinstance(method, ProgressRates) else SCORES
    usual = l1_loss if task == "regression" else entropy
    return task_by_score(loss or usual, scores[task])


def entropy(prediction: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy, mean over samples and pixels."""
    return cross_entropy(prediction, label[:, 0] if label.ndim > 1 else label)


@torch.no_grad()
def judge(network: nn.Module, part: Part, task: str) -> float:
    """The score of a network in points."""
    network.eval()
    return points(network(part.inputs), part.label, task)


def points(prediction: Tensor, label: Tensor, task: str) -> float:
    """Score in points, 100 at most: accuracy, R squared, or Dice.

    Dice is that of all pixels together, the mean over the three classes but the background.
    """
    if task == "regression":
        unexplained = (prediction - label).square().mean() / label.var(correction=0)
        return 100 * float(1 - unexplained)
    chosen = prediction.argmax(1)
    if task == "classification":
        return 100 * float((chosen == label).float().mean())
    table = torch.bincount((4 * label[:, 0] + chosen).flatten(), minlength=16).view(4, 4)
    dice = 2 * table.diag() / (table.sum(0) + table.sum(1)).clamp(min=1)
    return 100 * float(dice[1:].mean())


def means(records: Sequence[Record], quantity: str) -> list[list[float]]:
    """Mean of a recorded quantity per modality in each of five equal periods of the training."""
    rows = [list(record[quantity].values()) for record in records if quantity in record]
    if len(rows) < PERIODS:
        return []
    return [np.mean(part, axis=0).round(4).tolist() for part in np.array_split(rows, PERIODS)]
