"""Trainings on one batch of random data that go on by one step at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer, default_prepare_batch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from ....data import collate_features
from ....models import (
    segmentation_classifiers,
    segmentation_network,
    transformer_classifiers,
    transformer_network,
)
from ...balancing import (
    ClassificationTask,
    RegressionTask,
    SegmentationTask,
    Task,
    parameter_groups,
)
from ...handlers import Modulation, PrepareFeatures
from ...methods import CATALOGUE, Method, create
from ...segmentation import DiceCELoss, RegionDice

# Widths and steps of the features of a bundle, as its data sets have them; outputs, batch size.
FEATURES: dict[str, tuple[dict[str, tuple[int, int]], int, int]] = {
    "food101": ({"image": (768, 50), "text": (768, 40)}, 101, 32),
    "iemocap": ({"text": (100, 40), "audio": (100, 40), "vision": (512, 40)}, 4, 32),
    "mosi": ({"text": (768, 40), "audio": (5, 40), "vision": (20, 40)}, 1, 32),
}
BUNDLES = ("brats", *FEATURES)
# Encoder, channels, side of the slices and their number: of a network to use, of the bundle's
# default, for a laptop, and of the paper.
SMALL_BRATS, PAPERS_BRATS = "brats, default encoder", "brats, the paper's encoder"
SEGMENTATION = {
    "brats": ("resnet18", 64, 96, 8),
    SMALL_BRATS: ("tu-test_resnet", 64, 80, 8),
    PAPERS_BRATS: ("resnet101", 256, 160, 2),
}

Built = tuple[nn.Module, nn.ModuleDict | None, Task, list[dict[str, Any]]]


def build(bundle: str, late_fusion: str | None) -> Built:
    """A bundle's network, its classifiers, its task and random samples for a batch.

    Args:
        bundle: its name, or that of a network in `SEGMENTATION`.
        late_fusion: rule that replaces the network's fusion; None for none.
    """
    torch.manual_seed(0)
    if bundle in SEGMENTATION:
        return _segmentation(*SEGMENTATION[bundle], late_fusion)
    return _features(bundle, late_fusion)


def _segmentation(
    encoder: str, channels: int, side: int, count: int, late_fusion: str | None
) -> Built:
    network = segmentation_network(
        ["flair", "t1", "t1ce", "t2"],
        encoder=encoder,
        channels=channels,
        rates=(1, 2, 3),
        late_fusion=late_fusion,
    )
    samples = [
        {
            "image": torch.randn(4, side, side),
            "label": torch.randint(0, 4, (1, side, side)),
            "id": f"{i}",
        }
        for i in range(count)
    ]
    task = SegmentationTask(DiceCELoss(), RegionDice())
    return network, segmentation_classifiers(network), task, samples


def _features(bundle: str, late_fusion: str | None) -> Built:
    shapes, outputs, count = FEATURES[bundle]
    sizes = {"width": 40, "heads": 5, "layers": 4, "fusion_layers": 2}
    widths = {name: width for name, (width, _) in shapes.items()}
    network = transformer_network(widths, outputs, late_fusion=late_fusion, **sizes)
    labels = torch.randn(count, 1) if outputs == 1 else torch.randint(0, outputs, (count,))
    samples = [
        {
            "inputs": {name: torch.randn(steps, width) for name, (width, steps) in shapes.items()},
            "label": label,
            "id": f"{number}",
        }
        for number, label in enumerate(labels)
    ]
    if outputs == 1:
        task: Task = RegressionTask(nn.L1Loss(), _closeness)
    else:
        task = ClassificationTask(nn.CrossEntropyLoss(), _correctness)
    return network, transformer_classifiers(network), task, samples


def _correctness(prediction: Tensor, label: Tensor) -> Tensor:
    return (prediction.argmax(1) == label).float()


def _closeness(prediction: Tensor, label: Tensor) -> Tensor:
    return -(prediction - label).abs().flatten(1).mean(1)


class Clock:
    """A handler that notes when an event happened, between the handlers beside it."""

    def __init__(self, event: Events) -> None:
        self.event = event
        self.times: list[float] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Note the time of every such event of this engine."""
        engine.add_event_handler(self.event, lambda: self.times.append(time.perf_counter()))


class Steps:
    """A training that goes on by one step at a time, always on the same batch.

    Args:
        bundle: whose kind of network is trained.
        method: None for joint training without a handler of ours.
        classifiers: whether a bundle's classifiers are built; by default where the method needs
            them, as a bundle does it.
    """

    def __init__(
        self, bundle: str, method: Method | None, *, classifiers: bool | None = None
    ) -> None:
        late_fusion = None if method is None else method.late_fusion
        network, built, task, samples = build(bundle, late_fusion)
        if classifiers is None:
            classifiers = method is not None and method.needs_classifiers
        kept = built if classifiers and method is not None else None
        # Around the method's turn at each of these events.
        self._epoch = Clock(Events.EPOCH_STARTED), Clock(Events.EPOCH_STARTED)
        self._iteration = Clock(Events.ITERATION_STARTED), Clock(Events.ITERATION_COMPLETED)
        modulation = [] if method is None else [Modulation(method, network, task, kept)]
        handlers = [
            *(self._epoch[0], self._iteration[0]),
            *modulation,
            *(self._epoch[1], self._iteration[1]),
        ]
        brats = bundle in SEGMENTATION
        loader = DataLoader(
            Dataset(samples),
            batch_size=len(samples),
            collate_fn=default_collate if brats else collate_features,
        )
        self._trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=10**6,
            train_data_loader=loader,
            network=network,
            optimizer=torch.optim.SGD(
                parameter_groups(network, kept, lr=1e-3), lr=1e-3, momentum=0.9
            ),
            loss_function=task.loss,
            train_handlers=handlers,
            prepare_batch=default_prepare_batch if brats else PrepareFeatures(),
            decollate=False,
        )
        # A run that goes on, so that a method is prepared once.
        self._trainer.add_event_handler(Events.EPOCH_COMPLETED, self._trainer.interrupt)

    @property
    def seconds(self) -> list[float]:
        """What each step took."""
        return _between(self._iteration)

    @property
    def epoch_seconds(self) -> list[float]:
        """What the method did each time before an epoch's first step."""
        return _between(self._epoch)

    def step(self) -> float:
        """Run one step and return its seconds."""
        self._trainer.run()
        return self.seconds[-1]

    def end(self) -> None:
        """Let go of everything."""
        self._trainer.add_event_handler(Events.EPOCH_STARTED, self._trainer.terminate)
        self._trainer.run()


def method_for(name: str, bundle: str, folder: Path) -> Method:
    """A method with its defaults; UMT with teachers that were not trained, kept in `folder`."""
    method = CATALOGUE[name]
    if method.teachers_by is None:
        return create(name)
    path = folder / f"{bundle}.pt"
    if not path.exists():
        network, *_ = build(bundle, CATALOGUE[method.teachers_by].late_fusion)
        torch.save(network.state_dict(), path)
    return create(name, {name: {"teachers": str(path)}})


def covers(name: str, bundle: str) -> bool:
    """Whether a method is for a bundle's task."""
    task = {"brats": "segmentation", "mosi": "regression"}.get(bundle, "classification")
    return task in CATALOGUE[name].published | CATALOGUE[name].extended


def can_go_without(name: str) -> bool:
    """Whether a method, with its defaults, trains with classifiers and without."""
    method = create(name)
    return not method.needs_classifiers and method.late_fusion is None


def _between(clocks: Sequence[Clock]) -> list[float]:
    first, last = clocks
    return [end - begin for begin, end in zip(first.times, last.times, strict=True)]
