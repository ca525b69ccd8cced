"""Gradients of the classifiers beside those of single modalities (Figure 4), kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer
from torch import Tensor

from ...data.errors import InputError
from ...data.files import write_atomically
from ..balancing.distributed import is_main_process
from ..balancing.features import detached
from ..balancing.method import Step, last_weight
from ..balancing.randomness import undisturbed
from .accumulation import step_is_due
from .modulation import Modulation

FILE = "gradients.npz"


class GradientRecorder:
    """Handler that keeps last-layer gradients of the classifiers, and of single modalities.

    The gradient of a single modality is the paper's (section 4.4): its features alone enter the
    fusion, and the task loss is differentiated in the network's last layer. Each costs a further
    forward pass of the fusion. ``gradients.npz`` holds, for N steps, M modalities and D weights of
    the last layer, ``epoch`` and ``iteration`` (N,), ``modalities`` (M,), and ``classifier`` and
    ``unimodal`` (N, M, D) in float32. It is replaced after every epoch. Training is not changed.
    Put it after the modulation.

    Args:
        folder: where ``gradients.npz`` goes.
        modulation: the handler whose classifiers are meant.
        every: record every so many batches; 0 records nothing.

    Raises:
        InputError: `every` is no whole number, or there is nothing to record.
    """

    def __init__(self, folder: str | Path, modulation: Modulation, every: int = 0) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 0:
            raise InputError(
                f"record_gradients is {every!r}; expected 0 (never) or n (every n steps)"
            )
        self.path = Path(folder) / FILE
        self.modulation = modulation
        self.every = every
        if every and not (modulation.classifiers and hasattr(modulation.network, "fuse")):
            raise InputError(
                f"record_gradients is {every}, but {type(modulation.method).__name__} trains no "
                "classifiers beside a fusion, whose gradients could be compared: set it to 0, or "
                "choose another method"
            )
        self._kept: dict[str, np.ndarray] | None = None
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        if self.every and is_main_process():
            engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._rows.clear())
            engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._note)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _note(self, engine: SupervisedTrainer) -> None:
        step = self.modulation.step
        if step is None or engine.state.iteration % self.every or not step_is_due(engine):
            return
        classifier = torch.stack(step.classifier_gradients()) / step.loss_scale
        unimodal = torch.stack([unimodal_gradient(step, name) for name in step.modalities])
        self._rows.append(
            {
                "epoch": engine.state.epoch,
                "iteration": engine.state.iteration,
                "classifier": _vectors(classifier),
                "unimodal": _vectors(unimodal),
            }
        )

    def _write(self, engine: Engine) -> None:
        if self._kept is None:
            self._kept = _earlier_epochs(self.path, engine.state.epoch)
        if not self._rows:
            return
        fresh = {name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]}
        self._kept = {
            name: np.concatenate([self._kept[name], values]) if self._kept else values
            for name, values in fresh.items()
        }
        content: Any = {"modalities": np.array(list(self.modulation.encoders)), **self._kept}
        write_atomically(self.path, lambda file: np.savez(file, **content))


def unimodal_gradient(step: Step, modality: str) -> Tensor:
    """Gradient of the task loss in the network's last layer when one modality enters the fusion.

    Random states and running statistics are as before afterwards.

    Args:
        step: between loss and update.
        modality: the one.

    Returns:
        The gradient, of the shape of the last layer's weight.
    """
    network: Any = step.run.network
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with undisturbed(step.run, 0):
        prediction = network.fuse({modality: detached(step.features[modality])})
        loss = step.task.loss(prediction, step.label).mean()
        (gradient,) = torch.autograd.grad(loss, last_weight(step.last_layer))
    for buffer, value in buffers:
        # Not buffer.copy_: the coming backward pass would take it for a change of what it needs.
        buffer.data.copy_(value)
    return gradient


def _vectors(gradients: Tensor) -> np.ndarray:
    return gradients.detach().flatten(1).float().cpu().numpy()


def _earlier_epochs(path: Path, epoch: int) -> dict[str, np.ndarray]:
    """What a run that was stopped recorded before this epoch."""
    if not path.is_file():
        return {}
    with np.load(path) as file:
        earlier = file["epoch"] < epoch
        return {name: file[name][earlier] for name in file.files if name != "modalities"}
