"""A network free of hooks after a training, however it ended."""

import pytest
import torch
from ignite.engine import Events

from cggm.pipelines.methods import Joint


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
