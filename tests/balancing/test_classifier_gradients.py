"""What the classifiers learn beside a network: their own losses, one graph at a time."""

import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.pipelines.balancing import Balancer
from cggm.pipelines.methods import Joint

from ..toy import ToyRun, named_gradients


class FixedScale:
    """The part of a gradient scaler that a balancer reads; the loop multiplies by hand."""

    def get_scale(self) -> float:
        return 1024.0


def batches(run: ToyRun) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    images = torch.stack([sample["image"] for sample in run.data])
    labels = torch.stack([sample["label"] for sample in run.data])
    return images.split(4), labels.split(4)


def balanced(run: ToyRun, scaler: Any = None) -> Balancer:
    balancer = Balancer(Joint(), run.network, run.task, run.classifiers, optimizer=run.optimizer)
    balancer.scaler = scaler
    return balancer


@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize("half", [False, True])
def test_gradients_are_those_of_the_losses_on_detached_features(half: bool, scale: float) -> None:
    def context() -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext()

    run, plain = (ToyRun(Joint(), samples=16) for _ in range(2))
    balancer = balanced(run, FixedScale() if scale > 1 else None)
    for image, label in zip(*batches(run), strict=True):  # four, accumulated
        with context():
            with balancer.capture():
                prediction = run.network(image)
            loss = balancer.loss(prediction, label)
            assert plain.classifiers is not None
            losses = [cross_entropy(plain.network(image), label)]
            for name, feature in plain.network.encode(image).items():
                losses.append(cross_entropy(plain.classifiers[name](feature.detach()), label))
        (loss * scale / 4).backward()
        (torch.stack(losses).sum() * scale / 4).backward()
    for part, other in ((run.network, plain.network), (run.classifiers, plain.classifiers)):
        assert part is not None and other is not None
        expected = named_gradients(other)
        assert expected.keys() == named_gradients(part).keys()
        for name, gradient in named_gradients(part).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-6 * scale)


def test_a_classifier_lets_its_graph_go_before_the_next_one_runs() -> None:
    run = ToyRun(Joint())
    kept: list[weakref.ref[Tensor]] = []

    def note(_: nn.Module, __: Any, output: Tensor) -> None:
        assert not any(hidden() is not None for hidden in kept)
        kept.append(weakref.ref(output))

    assert run.classifiers is not None
    for classifier in run.classifiers.values():
        classifier.body.register_forward_hook(note)
    balancer = balanced(run)
    image, label = batches(run)
    with balancer.capture():
        prediction = run.network(image[0])
    loss = balancer.loss(prediction, label[0])
    assert len(kept) == 3 and all(hidden() is None for hidden in kept)
    loss.backward()
    assert all(p.grad is not None for p in run.classifiers.parameters())
