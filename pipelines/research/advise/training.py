"""One training of a small network, and its figures on validation and test."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...balancing.balancer import Balancer
from ...balancing.method import Method
from ...balancing.modality_dropout import ModalityDropout
from ...balancing.scores import score_by_name
from ...balancing.tasks import ClassificationTask, RegressionTask, Task
from ...methods import ProgressRates
from .network import build, classifiers_for
from .samples import Inputs, Samples, standardized

EPOCHS, PATIENCE = 40, 10
BATCH, DECAY, CLIP = 64, 0.01, 0.8


@dataclass(frozen=True)
class Outcome:
    """What a training came to: percent of accuracy, or 100 times the correlation of a regression.

    Attributes:
        val: of the epoch that is best on validation.
        test: of that epoch's weights on the test part.
        classifiers: of that epoch on the test part, by modality; empty without classifiers.
        epoch: the best one, from 1.
        network: with that epoch's weights.
    """

    val: float
    test: float
    classifiers: dict[str, float]
    epoch: int
    network: nn.Module


class Batches:
    """A part of the samples; gone through, its batches in a new order, without a short last one.

    Args:
        inputs: of all samples, standardized.
        labels: of all samples.
        indices: those of this part.
        seed: of the orders.
    """

    def __init__(self, inputs: Inputs, labels: Tensor, indices: Tensor, seed: int) -> None:
        self.inputs = rows_of(inputs, indices)
        self.labels = labels[indices]
        self.batch_size = min(BATCH, len(indices))
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        order = torch.randperm(len(self.labels), generator=self._generator)
        for rows in order.split(self.batch_size)[: len(self)]:
            yield rows_of(self.inputs, rows), self.labels[rows]


def rows_of(inputs: Inputs, rows: Tensor) -> Inputs:
    """Some of the samples."""
    return {name: (values[rows], lengths[rows]) for name, (values, lengths) in inputs.items()}


def train(
    samples: Samples,
    method: Method,
    *,
    division: int,
    lr: float,
    factors: Mapping[str, float] | None = None,
    dropout: float = 0.0,
    judged: bool = False,
    epochs: int = EPOCHS,
) -> Outcome:
    """Train with AdamW, stop when validation gets no better, test the best epoch's weights.

    Args:
        samples: the data.
        method: what to train with, fresh.
        division: of the samples; also the seed of weights and batches, the same for all methods.
        lr: learning rate.
        factors: of the learning rate, by the modality whose encoder has it.
        dropout: probability that the fusion does not see a modality.
        judged: train classifiers on the encoders' features, where the method does not anyway.
        epochs: most.
    """
    torch.manual_seed(division)
    parts = samples.divided(division)
    inputs = standardized(samples.inputs, parts["train"])
    training, val, test = (
        Batches(inputs, samples.labels, parts[name], division) for name in ("train", "val", "test")
    )
    widths = {name: values.shape[1] for name, values in samples.inputs.items()}
    network = build(widths, samples.outputs, method.late_fusion)
    needed = method.late_fusion is None and (judged or method.needs_classifiers)
    classifiers = classifiers_for(widths, samples.outputs) if needed else nn.ModuleDict()
    balancer = Balancer(
        method,
        network,
        task_of(samples, method),
        classifiers if needed else None,
        dropout=ModalityDropout(dropout, seed=division) if dropout else None,
    )
    optimizer = balancer.optimizer = optimizer_of(balancer, lr, factors or {})
    best = _Best(network, classifiers)
    for epoch in balancer.epochs(epochs, training, prepare_batch=_as_it_is):
        network.train()
        for x, y in training:
            _step(balancer, optimizer, x, y)
        best.see(epoch, score(_predicted(network, val.inputs), val.labels))
        if epoch - best.epoch >= PATIENCE:
            break
    best.restore()
    alone = {
        name: nn.Sequential(balancer.encoders[name], classifier)
        for name, classifier in classifiers.items()
    }
    return Outcome(
        best.score,
        score(_predicted(network, test.inputs), test.labels),
        {n: score(_predicted(one, test.inputs[n]), test.labels) for n, one in alone.items()},
        best.epoch,
        network,
    )


class _Best:
    """The epoch that is best on validation, and its weights."""

    def __init__(self, *modules: nn.Module) -> None:
        self.modules, self.score, self.epoch = modules, -np.inf, 0
        self._weights: list[dict[str, Tensor]] = []

    def see(self, epoch: int, score: float) -> None:
        if score > self.score:
            self.score, self.epoch = score, epoch
            self._weights = [copy.deepcopy(module.state_dict()) for module in self.modules]

    def restore(self) -> None:
        for module, weights in zip(self.modules, self._weights, strict=True):
            module.load_state_dict(weights)


def optimizer_of(
    balancer: Balancer, lr: float, factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """AdamW, with a learning rate of its own for each encoder that has a factor."""
    groups = balancer.parameter_groups(lr=lr)
    for group in groups:
        group["lr"] *= factors.get(group["name"].removeprefix("encoder/"), 1.0)
    return torch.optim.AdamW(groups, lr=lr, weight_decay=DECAY, fused=True)


def _step(balancer: Balancer, optimizer: torch.optim.Optimizer, x: Inputs, y: Tensor) -> None:
    optimizer.zero_grad()
    with balancer.capture():
        prediction = balancer.network(x)
    # Cosines would be for a record that nobody reads.
    balancer.loss(prediction, y, last=False).backward()
    with balancer.modulate():
        nn.utils.clip_grad_norm_(balancer.network.parameters(), CLIP)
        optimizer.step()


def _as_it_is(batch: Any, *_: Any) -> Any:
    return batch


@torch.no_grad()
def _predicted(network: nn.Module, inputs: Any) -> Tensor:
    network.eval()
    return network(inputs)


def score(prediction: Tensor, labels: Tensor) -> float:
    """Accuracy in percent, or 100 times the correlation of a regression; 0 where it has none.

    Args:
        prediction: logits (N, C), or values (N, 1).
        labels: class numbers (N,), or values (N, 1).
    """
    if labels.ndim == 1:
        return 100 * float((prediction.argmax(1) == labels).float().mean())
    both = np.stack([prediction[:, 0].numpy(), labels[:, 0].numpy()])
    # A prediction that is the same for all correlates with nothing.
    return 100 * float(np.nan_to_num(np.corrcoef(both)[0, 1])) if both.std(1).min() > 0 else 0.0


def task_of(samples: Samples, method: Method) -> Task:
    """Losses and scores of the feature bundles: cross-entropy and accuracy, or L1 and its size."""
    if samples.classes is None:
        return RegressionTask(nn.L1Loss(), score_by_name("mae"))
    name = "probability" if isinstance(method, ProgressRates) else "accuracy"
    return ClassificationTask(nn.CrossEntropyLoss(), score_by_name(name))
