"""Greedy: the modality it cares for, for how long, and the fusion meanwhile."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cggm.pipelines.methods.greedy import (
    Greedy,
    channel_sums,
    conditional_speeds,
    filled,
    learning_speed,
    speed_differences,
)

# greedy/conditional_learning_speed: the released callback, executed.
BRANCHES = {"net_view_0": ([1.0, 2.0], [0.1, 0.2]), "net_view_1": ([2.0, 1.0], [0.3, 0.1])}
GATES = {
    "squeeze": ([1.0, 1.0], [0.05, 0.1]),
    "visual": ([0.5, 0.5], [0.2, 0.0]),
    "skeleton": ([1.0, 0.5], [0.1, 0.1]),
}


def speed(*parts: tuple[list[float], list[float]]) -> Tensor:
    squares = [torch.tensor([p[i] for p in parts]).double().square().sum() for i in (1, 0)]
    return learning_speed(squares[0], squares[1])


def test_conditional_learning_speed() -> None:
    own = torch.stack([speed(part) for part in BRANCHES.values()])
    across = torch.stack(
        [speed(GATES["squeeze"], GATES["visual"]), speed(GATES["squeeze"], GATES["skeleton"])]
    )
    torch.testing.assert_close(own, torch.tensor([0.01, 0.02]).double())
    torch.testing.assert_close(across, torch.tensor([0.021, 0.01]).double())
    difference = speed_differences(across, own)
    # log10 in the released code, log in the paper.
    assert difference[0].item() / math.log(10) == pytest.approx(0.6232492904, abs=1e-6)
    assert difference[1].item() == pytest.approx(-difference[0].item())


def test_the_slowest_encoder_has_the_largest_difference() -> None:
    own = torch.tensor([4.0, 1.0, 2.0])
    differences = speed_differences(torch.full((3,), 5.0), own)
    assert int(differences.argmax()) == 1
    assert float(differences.sum()) == pytest.approx(0, abs=1e-6)
    speeds = conditional_speeds(torch.full((3,), 5.0), own)
    assert differences[0].item() == pytest.approx((speeds[0] - speeds[1:].mean()).item())


def test_differences_permute_with_the_modalities_and_vanish_for_equal_ones() -> None:
    own, order = torch.tensor([0.3, 0.1, 0.2, 0.7]), torch.tensor([2, 0, 3, 1])
    ones = torch.ones(4)
    torch.testing.assert_close(
        speed_differences(ones, own[order]), speed_differences(ones, own)[order]
    )
    assert speed_differences(ones, torch.full((4,), 0.2)).abs().max() < 1e-6


def test_an_encoder_that_does_not_move_counts_for_nothing() -> None:
    differences = speed_differences(torch.ones(3), torch.tensor([1.0, 0.0, 2.0]))
    assert differences[1] == 0
    assert differences[0].item() == pytest.approx(math.log(2))
    assert speed_differences(torch.zeros(2), torch.zeros(2)).tolist() == [0, 0]


def test_features_are_replaced_by_their_means_by_channel() -> None:
    maps = torch.arange(8.0).view(1, 2, 2, 2).requires_grad_()
    sequence = (torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([2]))
    for feature, expected in (
        (torch.tensor([[1.0, 2.0], [3.0, 6.0]]), torch.tensor([2.0, 4.0]).expand(2, 2)),
        ((maps, maps), torch.tensor([1.5, 5.5]).view(1, 2, 1, 1).expand(1, 2, 2, 2)),
        (sequence, torch.tensor([[[3.0], [3.0], [0.0]]])),
    ):
        means = [total[:-1] / total[-1] for total in channel_sums(feature)]
        found = filled(feature, means)
        assert type(found) is type(feature)
        values = found if isinstance(found, Tensor) else found[0]
        torch.testing.assert_close(values, expected)
    filled((maps, maps), [torch.ones(2)] * 2)[1].sum().backward()
    assert maps.grad is not None
    assert not maps.grad.any(), "a constant, and yet a part of the graph"


class Spied(Greedy):
    """Keeps what happened in each step."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.steps: list[tuple[int, str, list[float]]] = []

    def gradients(self, step) -> None:
        super().gradients(step)
        self.steps.append((self._remaining, self._favored, self.record()["balance"].tolist()))


def test_curation_lasts_for_the_window_and_a_normal_step_follows(toy_run) -> None:
    # As the released callback's states in greedy/conditional_learning_speed: it cares after the
    # first call, ends with the sixth and begins again with the seventh.
    method = Spied(alpha=0.0, unlock=1)
    toy_run(method, epochs=8).run()
    assert [step[0] > 0 for step in method.steps] == [True] * 5 + [False, True, True]
    assert method.steps[0][2] == [1, 1, 1]
    favored = toy_run(method).network.modalities.index(method.steps[0][1])
    assert all(s[2][favored] == 1 and sum(s[2]) == 1 for s in method.steps[1:6])
    assert method.steps[6][2] == [1, 1, 1]


class Stepwise:
    """The gradients of each step of a training, and the states of the network before them."""

    def __init__(self, run: Any) -> None:
        self.gradients: list[dict[str, Tensor]] = []
        self.states: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        step = run.optimizer.step

        def spy(*args, **kwargs):
            modules = (run.network, run.classifiers)
            self.states.append(tuple(copy.deepcopy(m.state_dict()) for m in modules))
            named = [*run.network.named_parameters(), *run.classifiers.named_parameters()]
            self.gradients.append({n: p.grad.clone() for n, p in named})
            return step(*args, **kwargs)

        run.optimizer.step = spy


def losses_of(run: Any, means: dict[str, Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
    """The joint loss, with constants in the fusion where told, and those of the classifiers."""
    images = torch.stack([s["image"] for s in run.data])
    label = torch.stack([s["label"] for s in run.data])
    features = run.network.encode(images)
    constant = {name: mean.expand(len(images), -1) for name, mean in (means or {}).items()}
    joint = run.task.loss(run.network.fuse(features | constant), label).mean()
    own = [run.task.loss(c(features[n]), label).mean() for n, c in run.classifiers.items()]
    return joint, own


def reference_gradients(run: Any, loss: Tensor) -> dict[str, Tensor]:
    for module in (run.network, run.classifiers):
        module.zero_grad(set_to_none=False)
    loss.backward()
    named = [*run.network.named_parameters(), *run.classifiers.named_parameters()]
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named}


@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_branch_learns_from_its_own_loss_and_the_slow_one_from_the_joint_loss_too(
    modalities, task: str, toy_run
) -> None:
    """Normal step: L + sum L_i. Re-balancing: L sees means of the others, L_i are as before."""
    method = Spied(alpha=0.0, unlock=1, window=2)
    run = toy_run(method, modalities=modalities, task=task, epochs=3, dtype=torch.float64)
    seen = Stepwise(run)
    run.run()
    favored = method.steps[0][1]
    means: dict[str, Tensor] = {}
    for number, (network, classifiers) in enumerate(seen.states):
        run.network.load_state_dict(network)
        run.classifiers.load_state_dict(classifiers)
        others = {} if number == 0 else {n: m for n, m in means.items() if n != favored}
        joint, own = losses_of(run, others)
        expected = reference_gradients(run, joint + torch.stack(own).sum())
        for name, gradient in seen.gradients[number].items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-8, msg=name)
        with torch.no_grad():
            features = run.network.encode(torch.stack([s["image"] for s in run.data]))
        new = {name: feature.mean(0) for name, feature in features.items()}
        before = means or new
        means = {n: torch.lerp(before[n], m, 0.1) for n, m in new.items()}


def test_speeds_are_those_of_branches_by_the_gradients_of_all_losses(toy_run) -> None:
    method = Greedy(alpha=100.0)
    run = toy_run(method, modalities=("a", "b"), dtype=torch.float64)
    joint, own = losses_of(run)
    gradients = reference_gradients(run, joint + torch.stack(own).sum())
    values = dict([*run.network.named_parameters(), *run.classifiers.named_parameters()])
    squares = {
        name: [
            sum(float(t[n].detach().square().sum()) for n in values if n.startswith(branch))
            for t in (gradients, values)
        ]
        for name in ("a", "b")
        for branch in [(f"encoders.{name}.", f"{name}.")]
    }
    speeds = {name: gradient / size for name, (gradient, size) in squares.items()}
    run.run()
    found = method.record()["speed_difference"]
    assert found[0].item() == pytest.approx(math.log(speeds["b"] / speeds["a"]), rel=1e-6)


def test_a_frozen_encoder_is_not_cared_for(toy_run) -> None:
    method = Spied(alpha=0.0, unlock=1)
    run = toy_run(method, epochs=2)
    run.network.encoders["text"].requires_grad_(False)
    run.run()
    assert method.record()["speed_difference"][1] == 0
    assert method.steps[0][1] != "text"


def test_no_feature_is_replaced_before_it_is_unlocked_or_below_the_threshold(toy_run) -> None:
    ends = []
    for method in (Spied(alpha=0.0, unlock=4), Spied(alpha=100.0, unlock=1)):
        run = toy_run(method, epochs=3).run()
        ends.append(run.network.state_dict())
        assert [step[2] for step in method.steps] == [[1, 1, 1]] * 3
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("steps", [1, 2])
def test_accumulation_decides_once_per_step(steps: int, toy_run) -> None:
    method = Spied(alpha=0.0, unlock=1)
    toy_run(method, epochs=2, batch_size=8 // steps, accumulation_steps=steps).run()
    assert len(method.steps) == 2
    assert method.steps[1][0] == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": -1}, r"alpha is -1; it is a number, 0 or larger"),
        ({"alpha": float("nan")}, r"alpha is nan"),
        ({"window": 0}, r"window is 0; it is a whole number, 1 or larger"),
        ({"unlock": 1.5}, r"unlock is 1.5; it is a whole number"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Greedy(**setting)


def test_one_modality_is_refused(toy_run) -> None:
    with pytest.raises(ValueError, match="Greedy balances 2 or more modalities"):
        toy_run(Greedy(), modalities=("a",)).run()
