"""The moving average of weights: by hand, in checkpoints, and over a restart."""

import copy
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data.errors import InputError
from cggm.pipelines.handlers.checkpoint_file import load_network, read
from cggm.pipelines.handlers.weight_average import WeightAverage

from .test_checkpoints import Points, Run, equal

DECAY = 0.9


def train(network: nn.Module, average: WeightAverage, **settings: int) -> list[dict[str, Tensor]]:
    """Train for an epoch of four batches; give what the network was after each."""
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(Points(8), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05),
        loss_function=nn.MSELoss(),
        train_handlers=[average],
        **settings,
    )
    states: list[dict[str, Tensor]] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: states.append(copy.deepcopy(network.state_dict()))
    )
    trainer.run()
    return states


@pytest.mark.parametrize(("accumulation_steps", "steps"), [(1, [0, 1, 2, 3]), (2, [1, 3])])
def test_weights_and_running_statistics_are_averaged(
    accumulation_steps: int, steps: list[int]
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    average = WeightAverage(network, DECAY)
    states = train(network, average, accumulation_steps=accumulation_steps)
    found = average.network.state_dict()
    for name in ("0.weight", "2.bias", "1.weight", "1.running_mean", "1.running_var"):
        expected = states[steps[0]][name]
        for step in steps[1:]:
            expected = DECAY * expected + (1 - DECAY) * states[step][name]
        torch.testing.assert_close(found[name], expected)
        assert not torch.equal(found[name], states[-1][name])
        assert torch.equal(network.state_dict()[name], states[-1][name])


def test_what_is_saved_and_judged_is_the_average(tmp_path: Path) -> None:
    run, plain = Run(tmp_path / "a", 2, ema=DECAY).go(), Run(tmp_path / "b", 2).go()
    assert run.average is not None and equal(run.network, plain.network)
    assert not equal(run.average.network, run.network)
    for name in ("model.pt", "last.pt"):
        loaded = load_network(tmp_path / "a" / name, Run(tmp_path / "c").network)
        assert equal(loaded, run.average.network)


def test_resuming_goes_on_with_both(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", 4, ema=DECAY).go()
    Run(tmp_path / "cut", 2, ema=DECAY).go()
    resumed = Run(tmp_path / "cut", 4, ema=DECAY, resume=True).go()
    assert whole.average is not None and resumed.average is not None
    assert equal(whole.network, resumed.network)
    assert equal(whole.average.network, resumed.average.network)
    first, second = (
        read(tmp_path / folder / "last.pt")["moving_average"] for folder in ("whole", "cut")
    )
    assert first["steps"] == second["steps"] == 16


@pytest.mark.parametrize(("before", "now"), [(DECAY, 0.0), (0.0, DECAY)])
def test_a_run_with_an_average_does_not_go_on_without(
    before: float, now: float, tmp_path: Path
) -> None:
    Run(tmp_path, 1, ema=before).go()
    with pytest.raises(InputError, match="holds (a|no) moving_average, unlike this run"):
        Run(tmp_path, 2, ema=now, resume=True).go()


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"decay is {decay}; it is a number above 0 and below 1"):
        WeightAverage(nn.Linear(1, 1), decay)
