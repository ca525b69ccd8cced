"""A balancer in a plain loop, beside the handler in MONAI's trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from cggm.pipelines.balancing import Balancer, ClassificationTask
from cggm.pipelines.handlers import Modulation, prepare_modalities
from cggm.pipelines.methods import CATALOGUE, CGGM, Joint, Method, create

from ..methods.ready import ready
from ..toy import ToyRun, full_cggm

MODALITIES = ("audio", "text")
SETTINGS: dict[str, Any] = {
    "samples": 20,
    "lr": 0.01,
    "modalities": MODALITIES,
    "optimizer": torch.optim.AdamW,
    "epochs": 3,
}


def balancer_of(run: ToyRun, method: Method) -> Balancer:
    return Balancer(method, run.network, run.task, run.classifiers, optimizer=run.optimizer)


def train(run: ToyRun, balancer: Balancer, *, micro: int = 1, first: int = 1) -> None:
    """A loop as a user writes it."""
    loader = DataLoader(run.data, batch_size=8)
    for _ in balancer.epochs(3, loader, first=first):
        train_epoch(run, balancer, loader, micro)


def train_until(run: ToyRun, balancer: Balancer, stop: int) -> None:
    """The same loop, interrupted after an epoch."""
    loader = DataLoader(run.data, batch_size=8)
    balancer.start(3, loader)
    for epoch in range(1, stop + 1):
        balancer.begin_epoch(epoch)
        train_epoch(run, balancer, loader)
        balancer.end_epoch()
    balancer.stop()


def train_epoch(run: ToyRun, balancer: Balancer, loader: DataLoader, micro: int = 1) -> None:
    """One epoch with `micro` batches for each step of the optimizer."""
    for number, batch in enumerate(loader):
        run.network.train()
        if number % micro == 0:
            run.optimizer.zero_grad()
        with balancer.capture():
            prediction = run.network(batch["image"])
        loss = balancer.loss(prediction, batch["label"], ids=batch["id"])
        (loss / micro).backward()
        if (number + 1) % micro == 0 or number + 1 == len(loader):
            with balancer.modulate():
                run.optimizer.step()


def check_equal(one: ToyRun, other: ToyRun) -> None:
    for part in ("network", "classifiers"):
        first, second = getattr(one, part), getattr(other, part)
        for name, tensor in ({} if first is None else first.state_dict()).items():
            assert torch.equal(second.state_dict()[name], tensor), name


@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_plain_loop_trains_as_the_handler_does(name: str, micro: int, tmp_path: Path) -> None:
    def method() -> Method:
        return ready(name, tmp_path, MODALITIES)

    handled = ToyRun(method(), accumulation_steps=micro, **SETTINGS)
    plain = ToyRun(method(), **SETTINGS)
    state = torch.get_rng_state()
    handled.run()
    torch.set_rng_state(state)
    balancer = balancer_of(plain, method())
    train(plain, balancer, micro=micro)
    check_equal(handled, plain)
    assert handled.modulation is not None
    assert balancer.record == handled.modulation.record
    assert str(balancer.state_dict()) == str(handled.modulation.state_dict())
    assert not any(module._forward_hooks for module in plain.network.modules())


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"reconboost"}))
def test_a_loop_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    def method() -> Method:
        return ready(name, tmp_path, MODALITIES)

    whole, parts = ToyRun(method(), **SETTINGS), ToyRun(method(), **SETTINGS)
    state = torch.get_rng_state()
    train(whole, balancer_of(whole, method()))
    torch.set_rng_state(state)
    first, second = balancer_of(parts, method()), balancer_of(parts, method())
    train_until(parts, first, 2)
    second.load_state_dict(first.state_dict())
    train(parts, second, first=3)
    check_equal(whole, parts)


def test_a_score_is_told_by_its_name() -> None:
    run = ToyRun(Joint())
    for kind in (Balancer, Modulation):
        named = kind(
            CGGM(),
            run.network,
            loss=cross_entropy,
            scores="probability",
            classifiers=run.classifiers,
        )
        assert isinstance(named.task, ClassificationTask)
        groups = named.parameter_groups(lr=0.1, classifier_lr=0.2)
        assert [group["lr"] for group in groups] == [0.1] * 4 + [0.2]
    with pytest.raises(ValueError, match="there is no score 'best'"):
        Balancer(Joint(), run.network, loss=cross_entropy, scores="best")
    with pytest.raises(ValueError, match="pass a task, or loss= and scores= together"):
        Balancer(Joint(), run.network, loss=cross_entropy)


def test_learning_rates_are_given_back_when_a_step_fails() -> None:
    run = ToyRun(full_cggm(apply="step", lam=0.0))
    balancer = balancer_of(run, full_cggm(apply="step", lam=0.0))
    with balancer.capture():
        prediction = run.network(torch.stack([s["image"] for s in run.data]))
    balancer.loss(prediction, torch.stack([s["label"] for s in run.data])).backward()
    with pytest.raises(KeyError), balancer.modulate():
        assert run.optimizer.param_groups[0]["lr"] != 0.1
        raise KeyError
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.1] * 4 + [0.05]


@pytest.mark.parametrize("name", ["gblending", "greedy", "mslr", "pmr", "relearning"])
def test_a_loop_without_epochs_is_refused_where_they_matter(name: str) -> None:
    run = ToyRun(create(name))
    with pytest.raises(ValueError, match=r"acts by epochs.*balancer\.epochs"):
        balancer_of(run, create(name)).capture()


def test_what_is_missing_is_named() -> None:
    run = ToyRun(create("pmr"))
    with pytest.raises(ValueError, match="pass the loader"):
        next(iter(balancer_of(run, create("pmr")).epochs(2)))
    with pytest.raises(ValueError, match="no optimizer"):
        Balancer(Joint(), run.network, run.task).start()
    balancer = balancer_of(run, Joint())
    with pytest.raises(RuntimeError, match="nothing to modulate"):
        balancer.start_update()
    with pytest.raises(RuntimeError, match="no batch was captured"):
        balancer.loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long))


def test_an_update_without_events_is_refused() -> None:
    run = ToyRun(CGGM())
    run.trainer._process_function = lambda engine, batch: {"loss": torch.zeros(())}
    with pytest.raises(ValueError, match="iteration_update fires no IterationEvents"):
        run.run()


def test_batches_of_modalities_are_split_and_moved() -> None:
    image = {"a": torch.zeros(2, 3), "b": (torch.zeros(2, 4, 1), torch.ones(2))}
    label = torch.zeros(2)
    for batch in ({"image": image, "label": label}, (image, label)):
        inputs, truth = prepare_modalities(batch, "meta")
        assert inputs["a"].device.type == inputs["b"][1].device.type == truth.device.type == "meta"
    with pytest.raises(ValueError, match=r"a batch is \['x', 'y'\]; expected a pair"):
        prepare_modalities({"x": 1, "y": 2})


def test_a_network_is_free_of_hooks_outside_a_pass() -> None:
    run = ToyRun(Joint())
    balancer = balancer_of(run, Joint())
    with balancer.capture():
        assert any(module._forward_hooks for module in run.network.modules())
    assert not any(module._forward_hooks for module in run.network.modules())
    assert isinstance(run.network, nn.Module)
