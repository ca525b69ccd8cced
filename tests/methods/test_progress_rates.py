"""Progress rates: what a factor is, how progress is measured, and that no harm is done."""

import runpy
from pathlib import Path

import pytest
import torch

from cggm.pipelines.methods import ProgressRates
from cggm.pipelines.methods.balance import paper_balance
from cggm.pipelines.methods.progress_rates import pair_factors, share_factors

from ..toy import ToyRun


def improvements(method: ProgressRates, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a method makes of scores (steps, 3): improvements and factors, of the same shape."""
    rows: list[dict[str, torch.Tensor]] = []
    run = ToyRun(method, samples=len(scores), batch_size=1)
    feed = iter(scores)
    gradients = method.gradients

    def fed(step) -> None:  # noqa: ANN001
        step.scores = next(feed)
        gradients(step)
        rows.append(method.record())

    method.gradients = fed
    run.run()
    return torch.stack([r["improvement"] for r in rows]), torch.stack([r["balance"] for r in rows])


def test_improvement_is_that_of_running_means() -> None:
    scores = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, _ = improvements(ProgressRates(smoothing=0), scores)
    assert not found[0].any()
    assert torch.equal(found[1:], scores[1:] - scores[:-1])
    found, _ = improvements(ProgressRates(smoothing=0.5), scores)
    score = reference = scores[0]
    for row, improvement in zip(scores[1:], found[1:], strict=True):
        score = (score + row) / 2
        torch.testing.assert_close(improvement, score - reference)
        reference = (reference + score) / 2


def test_a_modality_starts_with_its_first_score_and_rounding_is_no_improvement() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5]).repeat(200, 1)
    scores[0, 2] = torch.nan
    scores[50, 0] = torch.inf
    found, balance = improvements(ProgressRates(), scores)
    assert not found.any()
    assert (balance == 1).all()


def test_a_pair_changes_nothing_where_one_does_not_improve_or_both_improve_alike() -> None:
    for gains in ([0.3, 0.0], [0.3, 0.01], [0.3, -0.2], [0.0, 0.0], [0.2, 0.2], [-0.1, -0.3]):
        assert pair_factors(torch.tensor(gains), 1.0, 0.01).tolist() == [1, 1]
    # With three, the pair of the two that improve is what counts, at half its size.
    factors = pair_factors(torch.tensor([0.4, 0.1, 0.0]), 1.0, 1e-9)
    torch.testing.assert_close(factors, torch.tensor([1 - 0.192, 1 + 0.192, 1.0]))


def test_factors_fade_where_little_is_gained() -> None:
    gains = torch.tensor([0.8, 0.2], dtype=torch.float64)
    sizes = [float(pair_factors(g * gains, 1.0, 0.01)[1] - 1) for g in (1, 0.1, 0.05, 0.04)]
    # 4 g h (g - h) / (g + h + floor)^3 of 0.79 and 0.19, 0.07 and 0.01; then one is at the floor.
    assert sizes == pytest.approx([0.36024 / 0.99**3, 0.000168 / 0.09**3, 0, 0], abs=1e-12)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_factors_have_mean_one_are_not_negative_and_permute_with_the_modalities(m: int) -> None:
    noise = torch.randn(500, m, generator=torch.Generator().manual_seed(0)).double()
    order = torch.randperm(m, generator=torch.Generator().manual_seed(1))
    for strength in (0.5, 2.0):
        rows = torch.stack([pair_factors(row, strength, 1e-6) for row in noise])
        torch.testing.assert_close(rows.mean(1), torch.ones(500).double())
        assert rows.min() >= 0
        mixed = torch.stack([pair_factors(row[order], strength, 1e-6) for row in noise])
        torch.testing.assert_close(mixed, rows[:, order])


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_earlier_rule_is_equation_7_with_mean_one(m: int) -> None:
    improvement = torch.rand(m, generator=torch.Generator().manual_seed(m)).double()
    printed = paper_balance(improvement, 1.0)
    torch.testing.assert_close(share_factors(improvement, 1.0), printed / printed.mean())
    noise = torch.randn(500, m, generator=torch.Generator().manual_seed(0)).double()
    rows = torch.stack([share_factors(row, 1.0) for row in noise])
    torch.testing.assert_close(rows.mean(1), torch.ones(500).double())
    assert rows.min() >= 0


def test_noise_beside_an_informative_modality_does_no_harm() -> None:
    """One modality tells all, the other nothing: the first is left alone."""
    bench = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "progress_rates.py"))
    joint = bench["trained_jointly"]("noise", "SGD", 4)
    differences, factors = bench["compare"]("noise", "progress_rates", "SGD", joint)
    assert differences.mean() + bench["interval"](differences) >= 0
    assert differences.mean() > -2
    assert factors[:, 0].min() > 0.9 and factors.max() < 1.1
    # The case can tell: the earlier rule slows the informative encoder.
    differences, factors = bench["compare"]("noise", "progress_rates, shares", "SGD", joint[:2])
    assert factors[:, 0].max() < 0.5
    assert differences.mean() < -3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"strength": -1}, r"strength is -1; it is a number in \[0, 2\]"),
        ({"floor": 0}, r"floor is 0; it is a number above 0"),
        ({"rule": "centered"}, r"rule is 'centered'; it is one of \['pairs', 'shares'\]"),
        ({"smoothing": 1}, r"smoothing is 1; it is a number in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProgressRates(**setting)
