"""A network free of hooks after a training, however it ended."""

import copy

import pytest
import torch
from ignite.engine import Events

from cggm.pipelines.balancing import Balancer
from cggm.pipelines.methods import Joint

from ..toy import ToyRun


def test_an_error_leaves_no_hook_behind_and_is_raised(toy_run) -> None:
    run = toy_run(Joint())
    run.trainer.data_loader = [{"image": "no tensor"}]
    with pytest.raises(AttributeError, match=r"'str' object has no attribute 'to'"):
        run.run()
    assert not any(module._forward_hooks for module in run.network.modules())
    torch.jit.script(run.network.encoders["audio"])


def test_a_handler_for_errors_is_still_asked(toy_run) -> None:
    run, seen = toy_run(Joint()), []
    run.trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda _, error: seen.append(error))
    run.trainer.data_loader = [{"image": "no tensor"}]
    run.run()
    assert isinstance(seen[0], AttributeError)
    assert not any(module._forward_hooks for module in run.network.modules())


def test_a_deep_copy_listens_to_its_own_network() -> None:
    run = ToyRun(Joint())
    balancer = Balancer(Joint(), run.network, run.task, run.classifiers, optimizer=run.optimizer)
    twin = copy.deepcopy(balancer)
    images = torch.stack([sample["image"] for sample in run.data])
    label = torch.stack([sample["label"] for sample in run.data])
    before = copy.deepcopy(run.network.state_dict())
    for one in (twin, balancer):
        with one.capture():
            prediction = one.network(images)
        one.loss(prediction, label).backward()
        with one.modulate():
            one.optimizer.step()
        if one is twin:
            for name, tensor in run.network.state_dict().items():
                torch.testing.assert_close(tensor, before[name])
    assert twin.record == balancer.record and twin.record
    for name, tensor in run.network.state_dict().items():
        torch.testing.assert_close(twin.network.state_dict()[name], tensor)
