"""Figures over cases: undefined values, patients drawn together, limits of agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cggm.data.bootstrap import mean_interval
from cggm.pipelines.segmentation.scoring import (
    CaseScores,
    ScoringRules,
    limits_of_agreement,
    score_region,
    summarize,
    summarize_figure,
)

from .masks import blocks

NOTHING = blocks()
CUBE = blocks(((4, 4, 4), (8, 8, 8)))


def test_undefined_values_are_counted_and_left_out() -> None:
    found = summarize_figure([0.5, math.nan, 1.0, 0.0, 0.2])
    assert found.mean == pytest.approx(0.425)
    assert found.median == pytest.approx(0.35)
    assert (found.values, found.undefined) == (4, 1)
    assert found.interval_95 is None  # four values
    nothing = summarize_figure([math.nan, math.nan])
    assert math.isnan(nothing.mean) and math.isnan(nothing.median)
    assert (nothing.values, nothing.undefined) == (0, 2)


def test_the_interval_is_that_of_drawn_patients() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(40)
    means = rng.choice(values, (20_000, 40)).mean(1)
    expected = np.quantile(means, (0.025, 0.975))
    assert mean_interval(values) == pytest.approx(tuple(expected), abs=0.01)
    # Each patient twice is no more evidence, and two each of other values is less than it looks.
    owners = [f"P{i}" for i in range(40)]
    twice = mean_interval(np.repeat(values, 2), np.repeat(owners, 2).tolist())
    assert twice == pytest.approx(mean_interval(values, owners))
    assert mean_interval(np.full(7, 0.1)) is None
    assert mean_interval(values, ["A", "B", "C", "D"] * 10) is None
    apart = mean_interval(np.repeat(values, 2))
    assert apart is not None and twice is not None
    assert apart[1] - apart[0] < 0.8 * (twice[1] - twice[0])


def test_examinations_of_a_patient_are_drawn_together() -> None:
    def cases(names: list[str]) -> list[CaseScores]:
        parts = [blocks(((4, 4, 4), (5 + i % 4, 8, 8))) for i in range(len(names))]
        return [
            CaseScores(name, {"WT": score_region(part, CUBE)})
            for name, part in zip(names, parts, strict=True)
        ]

    single = summarize(cases([f"BraTS-GLI-{i:05}-000" for i in range(8)]))["WT"].figures["dice"]
    pairs = summarize(cases([f"BraTS-GLI-{i // 2:05}-{i % 2:03}" for i in range(8)]))["WT"]
    assert single.interval_95 is not None
    assert pairs.figures["dice"].interval_95 is None  # four patients
    assert pairs.figures["dice"].mean == single.mean


def test_a_region_over_cases_by_hand() -> None:
    half = blocks(((4, 4, 4), (6, 8, 8)))
    scores = {
        "same": score_region(CUBE, CUBE),
        "half": score_region(half, CUBE),
        "nothing": score_region(NOTHING, NOTHING),
        "false": score_region(CUBE, NOTHING),
        "missed": score_region(NOTHING, CUBE),
    }
    found = summarize([CaseScores(name, {"ET": score}) for name, score in scores.items()])["ET"]
    assert found.figures["dice"].mean == pytest.approx((1 + 2 / 3 + 1 + 0 + 0) / 5)
    assert found.figures["sensitivity"][3:] == (3, 2)
    assert found.figures["hd95_mm"].mean == pytest.approx((0 + 2 + 0 + 374 + 374) / 5)
    assert found.empty == {"both": 1, "truth": 1, "prediction": 1}
    assert found.lesions == {"found": 2, "missed": 1, "false": 1}
    assert found.agreement.bias == pytest.approx((0 - 32 + 0 + 64 - 64) / 5 / 1000)


def test_conventions_decide_the_means() -> None:
    pairs = [(CUBE, CUBE), (CUBE, NOTHING), (NOTHING, CUBE), (NOTHING, NOTHING)]
    means = {}
    for convention in ("brats2021", "brats2023", "monai"):
        rules = ScoringRules(convention)
        cases = [
            CaseScores(str(i), {"ET": score_region(*pair, rules=rules)})
            for i, pair in enumerate(pairs)
        ]
        figures = summarize(cases)["ET"].figures
        means[convention] = (figures["dice"].mean, figures["hd95_mm"].mean)
    assert means["brats2021"] == pytest.approx((0.5, 373.1287 / 2), abs=1e-3)
    assert means["brats2023"] == pytest.approx((0.5, 187))
    assert means["monai"] == pytest.approx((0.5, 0))  # a miss costs nothing in HD95


def test_limits_of_agreement() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(2, 5, 4000)
    bias, low, high = limits_of_agreement(differences.tolist())
    assert bias == pytest.approx(differences.mean())
    assert np.mean((differences > low) & (differences < high)) == pytest.approx(0.95, abs=0.01)
    assert limits_of_agreement([1.0, 3.0]) == pytest.approx(
        (2, 2 - 1.96 * math.sqrt(2), 2 + 1.96 * math.sqrt(2))
    )
    one = limits_of_agreement([3.0])
    assert one.bias == 3 and math.isnan(one.low)
