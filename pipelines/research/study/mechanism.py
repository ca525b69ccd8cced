"""Two experiments on factors: the printed rule under noise, and what an optimizer makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils import set_determinism
from torch import Tensor, nn

from ....data.files import write_json
from ...methods.balance import paper_balance
from .network import SmallNetwork, classifiers_of
from .sets import Part, dial
from .training import task_of, trainer_of

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD, momentum 0.9": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.0),
}
PLACES = ("gradient", "step")
FILE = "mechanism.json"
STEPS, RANGE, HALF = 400, 4.0, 0.5
DRAWS = 200_000


def write_mechanism(path: Path) -> Path:
    """Do both experiments and keep their figures."""
    gradients = encoder_gradients()
    content = {
        "noise": [noise(m, ratio) for m in (2, 3, 4) for ratio in (0.0, 0.5, 1.0, 2.0)],
        "accuracy": [accuracy_noise(m, batch) for m in (2, 3, 4) for batch in (32, 128)],
        "updates": [reaching(gradients, name, place) for name in OPTIMIZERS for place in PLACES],
        "gradients": {"steps": len(gradients), "parameters": gradients.shape[1]},
    }
    write_json(path, content)
    return path


def noise(modalities: int, ratio: float, seed: int = 0) -> dict[str, Any]:
    """How often is eq. 7 as printed negative, or huge, when improvements are noisy?

    Args:
        modalities: M.
        ratio: mean of every improvement over its standard deviation; all are alike.
        seed: of the draw.
    """
    draws = torch.Generator().manual_seed(seed)
    improvements = torch.randn(DRAWS, modalities, generator=draws, dtype=torch.float64) + ratio
    about = {"modalities": modalities, "mean_over_deviation": ratio}
    return {**about, **_shares(improvements)}


def accuracy_noise(modalities: int, batch: int, seed: int = 0) -> dict[str, Any]:
    """The same for accuracies of one batch after another, when every classifier stays at 70 %.

    They are whole numbers of samples, so that improvements often cancel exactly.
    """
    draws = np.random.default_rng(seed)
    before, after = draws.binomial(batch, 0.7, (2, DRAWS, modalities)) / batch
    return {"modalities": modalities, "batch": batch, **_shares(torch.from_numpy(after - before))}


def _shares(improvements: Tensor) -> dict[str, float]:
    factors = torch.func.vmap(lambda row: paper_balance(row, 1.0))(improvements)
    return {
        "negative": float((factors < 0).double().mean()),
        "above_10": float((factors.abs() > 10).double().mean()),
        "above_1000": float((factors.abs() > 1000).double().mean()),
    }


def encoder_gradients(seed: int = 0) -> Tensor:
    """Gradients of one encoder in the first 400 steps of joint training, (steps, parameters)."""
    set_determinism(seed=seed)
    samples = dial(1.0)
    inputs = samples.standardized(torch.arange(len(samples.labels)))
    part = Part(inputs, samples.labels, torch.arange(len(samples.labels)))
    network = SmallNetwork(inputs, samples.outputs)
    classifiers = classifiers_of(network)
    trainer = trainer_of(part, network, classifiers, task_of(samples), 1e-3)
    kept: list[Tensor] = []

    def keep(engine: SupervisedTrainer) -> None:
        kept.append(flat(p.grad for p in network.encoders["slow"].parameters()))
        if len(kept) == STEPS:
            engine.terminate()

    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, keep)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, _raise)
    trainer.run()
    return torch.stack(kept)


def reaching(gradients: Tensor, optimizer: str, place: str, seed: int = 0) -> dict[str, Any]:
    """How much of a factor reaches the update, when the same gradients are replayed?

    Args:
        gradients: (steps, parameters).
        optimizer: a key of :data:`OPTIMIZERS`.
        place: "gradient" multiplies the gradient, "step" the learning rate of this step.
        seed: of the factors.

    Returns:
        "constant": mean size of the update under a factor of 0.5 relative to no factor (0.5 is the
        whole factor, 1 nothing of it). "changing": slope of log relative size over log factor, for
        factors drawn anew at each step between 1/4 and 4 (1 is the whole factor, 0 nothing of it).
    """
    plain = replayed(gradients, optimizer, place, torch.ones(len(gradients)))
    half = replayed(gradients, optimizer, place, torch.full((len(gradients),), HALF))
    draws = np.random.default_rng(seed).uniform(-1, 1, len(gradients))
    factors = torch.from_numpy(RANGE**draws)
    changed = replayed(gradients, optimizer, place, factors)
    slope = np.polyfit(factors.log().numpy(), (changed / plain).log().numpy(), 1)[0]
    return {
        "optimizer": optimizer,
        "place": place,
        "constant": float((half / plain).mean()),
        "changing": float(slope),
    }


def replayed(gradients: Tensor, optimizer: str, place: str, factors: Tensor) -> Tensor:
    """Sizes of the updates that an optimizer makes of gradients and factors, (steps,)."""
    parameter = nn.Parameter(torch.zeros(gradients.shape[1], dtype=torch.float64))
    made = OPTIMIZERS[optimizer]([parameter])
    rate = made.param_groups[0]["lr"]
    sizes = []
    for gradient, factor in zip(gradients.double(), factors.tolist(), strict=True):
        before = parameter.detach().clone()
        parameter.grad = gradient * (factor if place == "gradient" else 1.0)
        made.param_groups[0]["lr"] = rate * (factor if place == "step" else 1.0)
        made.step()
        sizes.append((parameter.detach() - before).norm())
    return torch.stack(sizes)


def flat(tensors: Sequence[Tensor | None] | Any) -> Tensor:
    """Tensors as one vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors if tensor is not None])


def _raise(_: SupervisedTrainer, error: BaseException) -> None:
    raise error
