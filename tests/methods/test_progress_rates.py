"""Progress rates: what a factor is, how progress is measured, and what is refused."""

import pytest
import torch

from cggm.pipelines.methods import ProgressRates
from cggm.pipelines.methods.balance import paper_balance
from cggm.pipelines.methods.progress_rates import progress_factors

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


@pytest.mark.parametrize("m", [2, 3, 4])
def test_factors_are_equation_7_with_mean_one(m: int) -> None:
    improvement = torch.rand(m, generator=torch.Generator().manual_seed(m)).double()
    factors = progress_factors(improvement, 1.0)
    printed = paper_balance(improvement, 1.0)
    torch.testing.assert_close(factors, printed / printed.mean())
    noise = torch.randn(500, m, generator=torch.Generator().manual_seed(0)).double()
    rows = torch.stack([progress_factors(row, 1.0) for row in noise])
    torch.testing.assert_close(rows.mean(1), torch.ones(500).double())
    assert rows.min() >= 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"strength": -1}, r"strength is -1; it is a number, 0 or larger"),
        ({"smoothing": 1}, r"smoothing is 1; it is a number in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProgressRates(**setting)
