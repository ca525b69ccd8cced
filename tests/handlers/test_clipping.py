"""Clipping gradients under accumulation and mixed precision."""

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer
from torch import nn

from cggm.pipelines.handlers.accumulation import step_begins, step_is_due, unscale
from cggm.pipelines.handlers.clipping import GradientClipping


class Record:
    """Notes, at the end of each backward pass, whether a step is due and the gradient's norm."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.begins: list[bool] = []
        self.due: list[bool] = []
        self.norms: list[float] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        self.begins.append(step_begins(engine))
        self.due.append(step_is_due(engine))
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))


def build(handlers: list, network: nn.Module, batches: int = 5, **settings: object):
    generator = torch.Generator().manual_seed(0)
    data = [
        {"image": torch.randn(4, 3, generator=generator), "label": torch.full((4, 1), 50.0)}
        for _ in range(batches)
    ]
    return SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=data,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.MSELoss(),
        train_handlers=handlers,
        **settings,  # type: ignore[arg-type]
    )


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_limits_the_norm_of_every_step() -> None:
    network = linear()
    record = Record(network)
    build([GradientClipping(network, max_norm=0.5), record], network).run()
    assert record.norms == pytest.approx([0.5] * 10, rel=1e-4)


def test_leaves_small_gradients_alone() -> None:
    clipped, free = linear(), linear()
    build([GradientClipping(clipped, max_norm=1e9)], clipped).run()
    build([], free).run()
    assert torch.equal(clipped.weight, free.weight)


def test_clips_an_accumulated_gradient_once_and_the_rest_of_an_epoch() -> None:
    network = linear()
    record = Record(network)
    handlers = [GradientClipping(network, max_norm=0.5), record]
    build(handlers, network, batches=6, accumulation_steps=4).run()
    assert record.due == [False, False, False, True, False, True] * 2
    assert record.begins == [True, False, False, False, True, False] * 2
    for due, norm in zip(record.due, record.norms, strict=True):
        assert norm == pytest.approx(0.5, rel=1e-4) if due else norm > 0.5


def test_due_steps_are_the_steps_that_monai_takes() -> None:
    network = linear()
    record = Record(network)
    trainer = build([record], network, batches=7, accumulation_steps=3)
    before = [network.weight.detach().clone()]
    moved: list[bool] = []

    def note() -> None:
        moved.append(not torch.equal(before[-1], network.weight))
        before.append(network.weight.detach().clone())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    assert moved == record.due


@pytest.mark.parametrize("accumulation", [1, 4])
def test_unscales_once_under_mixed_precision(accumulation: int) -> None:
    """A loss scaler for the CPU stands in for the GPU's, which the trainer makes in `run`."""
    network, plain = linear(), linear()
    build([GradientClipping(plain, max_norm=0.5)], plain, accumulation_steps=accumulation).run()
    record = Record(network)
    trainer = build(
        [GradientClipping(network, max_norm=0.5), record],
        network,
        amp=True,
        accumulation_steps=accumulation,
    )

    def also_unscale(engine: SupervisedTrainer) -> None:
        if step_is_due(engine):
            unscale(engine)

    def scale(engine: SupervisedTrainer) -> None:
        engine.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # type: ignore[assignment]

    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, also_unscale)
    trainer.add_event_handler(Events.STARTED, scale)
    trainer.run()
    at_steps = [n for n, due in zip(record.norms, record.due, strict=True) if due]
    assert at_steps == pytest.approx([0.5] * len(at_steps), rel=1e-4)
    torch.testing.assert_close(network.weight, plain.weight)


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan")])
def test_refuses_a_norm_that_is_not_positive(max_norm: float) -> None:
    with pytest.raises(ValueError, match="largest gradient norm is .*; it must be positive"):
        GradientClipping(nn.Linear(1, 1), max_norm=max_norm)
