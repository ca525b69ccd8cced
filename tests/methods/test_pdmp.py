"""PDMP: constant factors that favor the modality which is best alone, told or found."""

from typing import Any

import pytest
import torch

from cggm.pipelines.balancing import Balancer
from cggm.pipelines.methods import PDMP, Joint
from cggm.pipelines.methods.pdmp import asymmetric_coefficients

from ..toy import MODALITIES, ToyRun


def informative(run: ToyRun, modality: str) -> ToyRun:
    """Let one modality tell the label and the others nothing."""
    torch.manual_seed(0)
    for sample in run.data:
        sample["image"].normal_()
        sample["image"][MODALITIES.index(modality)] = 2.0 * sample["label"] - 1
    return run


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_trial_finds_who_is_best_alone(toy_run: type[ToyRun], modality: str) -> None:
    run = informative(toy_run(PDMP(), epochs=1, samples=40, lr=0.5), modality).run()
    assert run.modulation is not None
    record = run.modulation.record
    assert max(record["alone"], key=record["alone"].__getitem__) == modality
    assert record["balance"] == {n: 1.5 if n == modality else 0.5 for n in MODALITIES}


def test_who_is_told_is_not_looked_for(toy_run: type[ToyRun]) -> None:
    run = informative(toy_run(PDMP("text", 2.0, 0.25), epochs=1, samples=16), "audio").run()
    assert run.modulation is not None
    assert run.modulation.record["balance"] == {"audio": 0.25, "text": 2.0, "video": 0.25}
    assert "alone" not in run.modulation.record


def test_gradients_of_encoders_are_scaled_and_nothing_else(toy_run: type[ToyRun]) -> None:
    mine = toy_run(PDMP("text", 2.0, 0.25))
    changed, plain = mine.first_step_gradients(), toy_run(Joint()).first_step_gradients()
    factors = {"audio": 0.25, "text": 2.0, "video": 0.25}
    for name, gradient in plain.items():
        torch.testing.assert_close(changed[name], factors.get(mine.part(name), 1.0) * gradient)


def test_a_step_is_scaled_where_adam_would_undo_a_factor(toy_run: type[ToyRun]) -> None:
    def moved(**settings: Any) -> torch.Tensor:
        run = toy_run(PDMP("text", 1.0, 0.0, **settings), optimizer=torch.optim.Adam)
        before = run.network.encoders["text"][0].weight.detach().clone()
        still = run.network.encoders["audio"][0].weight.detach().clone()
        run.run()
        assert torch.equal(run.network.encoders["audio"][0].weight, still)
        return run.network.encoders["text"][0].weight.detach() - before

    torch.testing.assert_close(moved(), moved(apply="step"))
    half = toy_run(PDMP("text", 1.0, 0.5, apply="step"), optimizer=torch.optim.Adam).run()
    same = toy_run(PDMP("text", 1.0, 0.5), optimizer=torch.optim.Adam).run()
    joint = toy_run(Joint(), optimizer=torch.optim.Adam).run()
    weights = [r.network.encoders["audio"][0].weight.detach() for r in (joint, same, half)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-4)  # undone
    assert (weights[0] - weights[2]).abs().max() > 0.01


def test_nothing_of_the_trial_stays(toy_run: type[ToyRun]) -> None:
    mine = toy_run(PDMP(None, 1.0, 1.0), epochs=2, samples=16).run()
    after = torch.rand(1)
    joint = toy_run(Joint(), epochs=2, samples=16).run()
    assert torch.equal(torch.rand(1), after)
    for name, tensor in joint.network.state_dict().items():
        assert torch.equal(mine.network.state_dict()[name], tensor)


def test_equals_and_broken_scores_favor_nobody() -> None:
    for scores in ([0.5, 0.5, 0.5], [0.7, 0.7, 0.1], [float("nan"), 0.5, 0.1]):
        assert asymmetric_coefficients(torch.tensor(scores), 1.5, 0.5).tolist() == [1, 1, 1]


def test_a_loop_without_epochs_wants_the_name(toy_run: type[ToyRun]) -> None:
    run = toy_run(None)

    def balancer(method: PDMP) -> Balancer:
        return Balancer(method, run.network, run.task, run.classifiers, optimizer=run.optimizer)

    with pytest.raises(ValueError, match="PDMP acts by epochs"):
        balancer(PDMP()).capture()
    balancer(PDMP("text")).capture()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dominant": 1}, "dominant is 1; it is the name of a modality"),
        ({"gamma_p": 0.5}, "gamma_p is 0.5; it is a number, 1 or larger"),
        ({"gamma_r": 1.5}, r"gamma_r is 1.5; it is a number in \[0, 1\]"),
        ({"apply": "rate"}, "apply is 'rate'; it is one of"),
        ({"trial_epochs": 0}, "trial_epochs is 0"),
        ({"held_out": 0.9}, "held_out is 0.9"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PDMP(**setting)


def test_a_name_that_is_none_is_refused(toy_run: type[ToyRun]) -> None:
    with pytest.raises(ValueError, match="dominant is 'txt'.*did you mean 'text'"):
        toy_run(PDMP("txt")).run()
