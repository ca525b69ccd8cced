"""Modality dropout: as often as told, never all of a sample's, and truly absent."""

import pytest
import torch
from torch import Tensor

from cggm.pipelines.balancing.modality_dropout import draw_kept, subset_probabilities
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.mrd import MRD

from ..toy import ToyRun

MODALITIES = ("audio", "text", "video", "touch")


def draws(count: int, p: float, sampler: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return draw_kept(20000, count, p, sampler, generator)  # type: ignore[arg-type]


def test_prob_all_subsets() -> None:
    probabilities = subset_probabilities(4, 0.9, "subsets")
    assert len(probabilities) == 15
    assert probabilities.tolist() == pytest.approx([1 / 15] * 15)
    torch.testing.assert_close(
        draws(4, 0.9, "subsets").float().mean(0),
        torch.full((4,), 0.5333333333),
        rtol=0,
        atol=0.02,
    )


@pytest.mark.parametrize("sampler", ["independent", "subsets"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_sample_keeps_a_modality_and_all_are_treated_alike(count: int, sampler: str) -> None:
    kept = draws(count, 0.6, sampler)
    assert bool(kept.any(1).all())
    shares = kept.float().mean(0)
    torch.testing.assert_close(shares, shares.mean().expand(count), rtol=0, atol=0.02)


def test_independent_drops_have_their_probability_where_one_is_left() -> None:
    p, count = 0.4, 3
    expected = (1 - p) / (1 - p**count)
    shares = draws(count, p, "independent").float().mean(0)
    torch.testing.assert_close(shares, torch.full((3,), expected), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"p": 1}, r"p is 1; it is a number in \[0, 1\)"),
        ({"p": "0.5"}, r"p is '0.5'"),
        ({"sampler": "all"}, r"sampler is 'all'; it is one of \['independent', 'subsets'\]"),
        ({"seed": 0.5}, r"seed is 0.5; it is a whole number"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MRD(**setting)


class Fused:
    """Keeps what the fusion of a toy network gets."""

    def __init__(self, run: ToyRun) -> None:
        self.features: list[dict[str, Tensor]] = []
        fuse = run.network.fuse

        def spy(features: dict[str, Tensor]) -> Tensor:
            self.features.append({name: f.detach() for name, f in features.items()})
            return fuse(features)

        run.network.fuse = spy


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_the_fusion_sees_zeros_for_what_is_dropped(
    toy_run: type[ToyRun], count: int, optimizer: type, task: str
) -> None:
    method = MRD(0.5)
    run = toy_run(
        method, modalities=MODALITIES[:count], optimizer=optimizer, task=task, epochs=3, samples=64
    )
    fused = Fused(run)
    run.run()
    rows = torch.stack([torch.stack(list(f.values())) for f in fused.features])  # step, M, B, 5
    kept = (rows != 0).any(-1)
    assert torch.equal(kept, (rows != 0).all(-1)), "features are dropped whole"
    assert bool(kept.any(1).all())
    assert kept.all() == (count == 1)
    assert len({tuple(step.flatten().tolist()) for step in kept}) == (1 if count == 1 else 24)
    assert run.modulation is not None
    assert set(run.modulation.record["kept"]) == set(MODALITIES[:count])


def test_no_gradient_reaches_the_encoder_of_a_dropped_sample(toy_run: type[ToyRun]) -> None:
    run = toy_run(MRD(0.7, seed=1), batch_size=1, samples=1)
    fused = Fused(run)
    gradients = run.first_step_gradients()
    zero = [not bool(f.any()) for f in fused.features[0].values()]
    assert True in zero
    assert False in zero
    for name, dropped in zip(run.network.encoders, zero, strict=True):
        assert (gradients[f"encoders.{name}.0.weight"].abs().sum() == 0) == dropped


def test_dropping_nothing_is_joint_training_and_other_draws_are_not_disturbed(
    toy_run: type[ToyRun],
) -> None:
    mine, joint = toy_run(MRD(0)).run(), toy_run(Joint()).run()
    for name, tensor in joint.network.state_dict().items():
        assert torch.equal(mine.network.state_dict()[name], tensor)
    toy_run(MRD(0.5)).run()
    after = torch.rand(1)
    toy_run(Joint()).run()
    assert torch.equal(torch.rand(1), after)


def test_another_seed_draws_otherwise(toy_run: type[ToyRun]) -> None:
    weights = [toy_run(MRD(0.5, seed=s)).run().network.head.weight for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
