"""MSLR: a learning rate per encoder, and rates that follow the scores."""

import pytest
import torch
from ignite.engine import Events
from torch import Tensor

from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.mslr import MSLR, dynamic_ratios, positive

from ..toy import MODALITIES, ToyRun

FACTORS = {"audio": 1.3, "video": 0.7}


def test_ratios_permute_with_the_modalities_and_are_equal_for_equal_ones() -> None:
    earlier = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    last, order = torch.tensor([0.1, 0.4, 0.2, 0.9]), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        dynamic_ratios(last[order], earlier[:, order]), dynamic_ratios(last, earlier)[order]
    )
    equal = dynamic_ratios(last[:1].expand(3), earlier[:, :1].expand(5, 3))
    assert len(set(equal.tolist())) == 1


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_scores_that_tell_nothing_change_nothing(value: float) -> None:
    scores = torch.tensor([value, 0.5])
    assert dynamic_ratios(scores, scores.expand(2, 2)).tolist() == [1, 1]


def test_scores_of_a_regression_become_positive_and_keep_their_order() -> None:
    scores = torch.tensor([-100.0, -1.0, -0.5, 0.0, 0.5])
    found = positive(scores)
    assert bool((found > 0).all())
    assert bool((found.diff() > 0).all())
    assert torch.equal(positive(scores[3:]), scores[3:])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"strategy": "smooth"}, r"strategy is 'smooth'; it is one of \['keep', 'dynamic'\]"),
        ({"window": 1}, r"window is 1; it is a whole number, 2 or larger"),
        ({"factors": [1.3, 0.7]}, r"factors is \[1.3, 0.7\]; it is a mapping"),
        ({"factors": {"audio": 0}}, r"factors\['audio'\] is 0; it is a number above 0"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MSLR(**setting)


def test_factors_of_unknown_modalities_are_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match=r"factors names 'image'; the network has modalities \['a"):
        toy_run(MSLR("keep", {"image": 2.0})).run()


def test_parameter_groups_that_mix_encoders_are_refused(toy_run: type[ToyRun]) -> None:
    run = toy_run(MSLR("keep", FACTORS))
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    run.trainer.optimizer = torch.optim.SGD(parameters, lr=0.1)
    with pytest.raises(ValueError, match=r"mixes \['audio'.*parameter_groups\(network"):
        run.run()


def updates(run: ToyRun) -> dict[str, Tensor]:
    before = {n: p.detach().clone() for n, p in run.network.named_parameters()}
    run.run()
    return {n: p.detach() - before[n] for n, p in run.network.named_parameters()}


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_keep_scales_each_encoders_update(
    toy_run: type[ToyRun], optimizer: type, accumulation_steps: int
) -> None:
    def build(**groups) -> torch.optim.Optimizer:
        return optimizer(groups["params"], lr=groups["lr"], weight_decay=0.0)

    settings = {
        "optimizer": lambda groups, lr: build(params=groups, lr=lr),
        "samples": 8 * accumulation_steps,
        "accumulation_steps": accumulation_steps,
    }
    mine = toy_run(MSLR("keep", FACTORS), **settings)
    plain = updates(toy_run(Joint(), **settings))
    for name, update in updates(mine).items():
        factor = FACTORS.get(mine.part(name), 1.0)
        torch.testing.assert_close(update, factor * plain[name], rtol=1e-4, atol=1e-7)
    assert {group["lr"] for group in mine.optimizer.param_groups} == {0.1, 0.05}


def test_keep_without_factors_is_joint_training(toy_run: type[ToyRun]) -> None:
    mine, joint = toy_run(MSLR("keep"), epochs=3).run(), toy_run(Joint(), epochs=3).run()
    for name, tensor in joint.network.state_dict().items():
        assert torch.equal(mine.network.state_dict()[name], tensor)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_dynamic_follows_the_scores_of_the_last_epochs(
    toy_run: type[ToyRun], task: str, optimizer: type, count: int
) -> None:
    method = MSLR(factors={"audio": 2.0}, window=3)
    scores: list[list[float]] = []
    balances: list[list[float]] = []

    class Keep:
        """What each epoch's only step recorded."""

        def attach(self, engine) -> None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.keep)

        def keep(self, _) -> None:
            record = run.modulation.record
            scores.append([record["score"][name] for name in MODALITIES[:count]])
            balances.append(list(record["balance"].values()))

    run = toy_run(
        method,
        task=task,
        optimizer=optimizer,
        epochs=6,
        modalities=MODALITIES[:count],
        handlers=[Keep()],
    )
    run.run()
    # The bookkeeping of AGM's run/AVMNIST_main.py, its lists and all.
    initial = [2.0, 1.0, 1.0][:count]
    memory: list[list[float]] = []
    expected, ratios = [], [1.0] * count
    for now in positive(torch.tensor(scores)).tolist():
        expected.append([c * ratio for c, ratio in zip(initial, ratios, strict=True)])
        if len(memory) < 3:
            memory.append(now)
        else:
            means = [sum(past) / 3 for past in zip(*memory, strict=True)]
            ratios = [score / mean for score, mean in zip(now, means, strict=True)]
            memory = [*memory[1:], now]
    assert expected[:4] == [initial] * 4
    assert expected[4] != initial
    torch.testing.assert_close(torch.tensor(balances), torch.tensor(expected))
