"""OPM: only who leads is dropped, what is left is scaled up, and nobody loses all there is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cggm.pipelines.balancing import Balancer, ModalityDropout
from cggm.pipelines.methods import OGMGE, OPM, Joint

from ..balancing.test_absent_modalities import PartialNetwork
from ..toy import ToyRun

TWO, THREE = ("audio", "text"), ("audio", "text", "video")


def acting(**more: Any) -> OPM:
    return OPM(first_epoch=1, **{"p_exe": 1.0} | more)


def leading(method: OPM, *ratios: float) -> OPM:
    """As if a training had just found these ratios."""
    method.load_state_dict({"passes": 0, "ratios": torch.tensor(ratios), "error": None})
    return method


def seen_by_the_fusion(method: OPM, run: ToyRun, inputs: Tensor, **more: Any) -> list[Tensor]:
    balancer = Balancer(method, run.network, run.task, run.classifiers, **more)
    balancer.optimizer = run.optimizer
    with balancer.capture():
        run.network(inputs)
    return [balancer.capture().seen[name] for name in run.network.encoders]


def kept(features: list[Tensor]) -> Tensor:
    return torch.stack([feature.ne(0).any(1) for feature in features], 1)


def test_the_leader_is_dropped_as_often_as_told_and_the_rest_scaled_up() -> None:
    inputs = torch.randn(4000, 2, 3)
    run = ToyRun(Joint(), modalities=TWO)
    audio, text = seen_by_the_fusion(leading(acting(), 2.0, 0.5), run, inputs)
    probability = 0.5 * (1 + 0.5 * torch.tanh(torch.tensor(1.0)).item())
    shares = kept([audio, text]).float().mean(0).tolist()
    assert shares == [pytest.approx(1 - probability, abs=0.03), 1]
    plain = run.network.encode(inputs)["text"]
    torch.testing.assert_close(text, plain / (1 - probability / 2))


@pytest.mark.parametrize("ratios", [(1.0, 1.0), (1.0, 1.0, 1.0)])
def test_equals_lose_nothing(ratios: tuple[float, ...]) -> None:
    run = ToyRun(Joint(), modalities=THREE[: len(ratios)])
    features = seen_by_the_fusion(leading(acting(), *ratios), run, torch.randn(50, len(ratios), 3))
    for found, name in zip(features, run.network.encoders, strict=True):
        assert bool(found.ne(0).all()), name


def test_a_share_of_the_passes_drops() -> None:
    run, inputs = ToyRun(Joint(), modalities=TWO), torch.randn(8, 2, 3)
    method = leading(OPM(q_base=1.0, lam=0.0, p_exe=0.7, first_epoch=1), 2.0, 0.5)
    balancer = Balancer(method, run.network, run.task, run.classifiers, optimizer=run.optimizer)
    dropping = 0
    for _ in range(200):
        with balancer.capture() as capture:
            run.network(inputs)
            dropping += not bool(capture.seen["audio"].any())
    assert dropping == pytest.approx(140, abs=25)


@pytest.mark.parametrize("dropout", [None, ModalityDropout(0.9)])
def test_nobody_loses_all_there_is(dropout: ModalityDropout | None) -> None:
    """Neither by OPM nor by modality dropout besides, which draws from what OPM left."""
    run = ToyRun(Joint(), modalities=TWO)
    run.network = PartialNetwork(TWO)
    having = torch.tensor([[1, 1], [1, 0], [0, 1]]).bool().repeat(200, 1)
    inputs = torch.randn(600, 2, 3) * having[:, :, None]
    method = leading(acting(q_base=1.0), 2.0, 0.5)
    left = kept(seen_by_the_fusion(method, run, inputs, dropout=dropout))
    assert bool(left.any(1).all()) and not bool((left & ~having).any())
    assert not bool(left[::3, 0].any()), "who has both loses the leader"
    assert bool(left[1::3, 0].all()), "who has the leader alone keeps it"


def test_dropping_nothing_is_joint_training(toy_run: type[ToyRun]) -> None:
    joint = toy_run(Joint(), epochs=2).run().network.state_dict()
    for method in (acting(p_exe=0.0), acting(q_base=0.0), OPM(first_epoch=3, ogm=True)):
        mine = toy_run(method, epochs=2).run().network.state_dict()
        assert all(torch.equal(mine[name], tensor) for name, tensor in joint.items())


def test_gradients_are_damped_as_by_ogm(toy_run: type[ToyRun]) -> None:
    """In the first step, which drops nothing yet."""
    mine = toy_run(acting(ogm=True, alpha=0.5))
    other = toy_run(OGMGE(0.5, ge=False))
    expected = other.first_step_gradients()
    for name, gradient in mine.first_step_gradients().items():
        torch.testing.assert_close(gradient, expected[name], msg=name)
    assert mine.modulation is not None and other.modulation is not None
    assert mine.modulation.record["balance"] == other.modulation.record["balance"]


def test_it_drops_in_a_training(toy_run: type[ToyRun]) -> None:
    run = toy_run(acting(), modalities=TWO, epochs=6, samples=64, batch_size=8).run()
    joint = toy_run(Joint(), modalities=TWO, epochs=6, samples=64, batch_size=8).run()
    assert run.modulation is not None
    assert min(run.modulation.record["kept"].values()) < 1
    assert not torch.equal(run.network.head.weight, joint.network.head.weight)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"q_base": 1.5}, r"q_base is 1.5; it is a number in \[0, 1\]"),
        ({"lam": -1}, "lam is -1; it is a number, 0 or larger"),
        ({"p_exe": 2}, r"p_exe is 2; it is a number in \[0, 1\]"),
        ({"ogm": 1}, "ogm is 1; it is True or False"),
        ({"first_epoch": 0}, "first_epoch is 0"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPM(**setting)
