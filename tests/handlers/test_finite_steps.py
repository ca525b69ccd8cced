"""Steps with gradients that are not finite: left out, named, and not too many of them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import nn

from cggm.data.errors import InputError
from cggm.pipelines.handlers import FiniteSteps, GradientClipping


def batches(count: int, broken: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Batches of two cases; a broken one has a label that is NaN."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        inputs = torch.randn(2, 3, generator=generator)
        label = torch.full((2, 1), float("nan") if i in broken else 5.0)
        made.append({"image": inputs, "label": label, "case": [f"case{i}a", f"case{i}b"]})
    return made


def train(
    data: list, network: nn.Module, *handlers: Any, limit: int = 10, **settings: Any
) -> FiniteSteps:
    guard = FiniteSteps(network, limit=limit)
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=data,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
        loss_function=nn.MSELoss(),
        train_handlers=[guard, *handlers],
        **settings,
    ).run()
    return guard


def network(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 1), *more)


def test_a_step_left_out_leaves_weights_and_momentum_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, broken = network(), network()
    data = batches(5, broken=[2])
    assert train([b for i, b in enumerate(data) if i != 2], whole).left_out == 0
    assert capsys.readouterr().out == ""
    guard = train(data, broken, GradientClipping(broken, max_norm=100))
    assert guard.left_out == 2
    torch.testing.assert_close(broken.state_dict(), whole.state_dict(), rtol=0, atol=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "step 3 (epoch 1), of case2a, case2b: gradients are NaN or infinite, the step is left out"
    )
    assert lines[1].startswith("step 8 (epoch 2), of case2a, case2b")


def test_of_accumulated_batches_the_one_to_blame_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = train(batches(4, broken=[2]), network(), accumulation_steps=2)
    assert guard.left_out == 2
    assert "step 4 (epoch 1), of case2a, case2b: " in capsys.readouterr().out


def test_too_many_in_a_row_end_the_training() -> None:
    with pytest.raises(InputError, match=r"step 3 \(epoch 1\), of case2a.*gradients of 3 steps in"):
        train(batches(4, broken=[0, 1, 2, 3]), network(), limit=3)
    with_pauses = train(batches(6, broken=[0, 1, 3, 4]), network(), limit=3)
    assert with_pauses.left_out == 8


def test_running_statistics_that_are_not_finite_end_it_at_once() -> None:
    data = batches(4)
    data[1]["image"][0, 0] = torch.inf
    with pytest.raises(InputError, match=r"step 2 .*of case1a, case1b.*running statistics are NaN"):
        train(data, network(nn.BatchNorm1d(1)))
