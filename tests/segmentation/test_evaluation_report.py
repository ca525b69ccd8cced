"""The report of an evaluation: both protocols against cases done by hand and brute force."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.pipelines.segmentation.evaluation_report import EvaluationReport, random_draws, summarize

REGION_CLASSES = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


def report(
    folder: Path, cases: dict[str, tuple[Tensor, Tensor]], draws: int = 20
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Evaluate predicted and true slices (slices, H, W) by case; return the JSON and the CSV."""
    items = [
        {"image": p.movedim(0, -1)[None], "label": t.movedim(0, -1)[None], "case": name}
        for name, (p, t) in cases.items()
    ]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(items, batch_size=1),
        network=nn.Identity(),
        val_handlers=[
            EvaluationReport(str(folder), data="phantoms", about={"part": "test"}, draws=draws)
        ],
        decollate=False,
    )
    evaluator.run()
    with open(folder / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return json.loads((folder / "evaluation.json").read_text()), rows


def random_cases(count: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Every second slice has no tumor; the last case has none in any slice."""
    generator = torch.Generator().manual_seed(0)
    cases = {}
    for number in range(count):
        predicted, true = torch.randint(4, (2, 4 + number % 3, 5, 6), generator=generator)
        true[::2] = 0
        cases[f"P{number}"] = (predicted, true)
    cases[f"P{count - 1}"][1][:] = 0
    return cases


def brute_dice(predicted: np.ndarray, true: np.ndarray, smooth: float = 0.0) -> list[float]:
    dice = []
    for classes in REGION_CLASSES.values():
        p, t = np.isin(predicted, classes), np.isin(true, classes)
        size = p.sum() + t.sum()
        empty = size == 0 and smooth == 0
        dice.append(1.0 if empty else 2 * ((p & t).sum() + smooth) / (size + 2 * smooth))
    return dice


def test_two_patients_by_hand(tmp_path: Path) -> None:
    true = torch.zeros(2, 2, 2, dtype=torch.long)
    true[0, 0, 0], true[1] = 3, 2  # one pixel of ET, then a slice full of edema
    empty = torch.zeros_like(true)
    summary, rows = report(tmp_path, {"A": (true, true), "B": (empty, true)})
    assert [row["case"] for row in rows] == ["A", "B"]
    assert [rows[0][f"volumetric_{r}"] for r in ("WT", "TC", "ET", "mean")] == ["100.0"] * 4
    assert [rows[1][f"volumetric_{r}"] for r in ("WT", "TC", "ET", "mean")] == ["0.0"] * 4
    # The slice of edema has neither TC nor ET, and none was predicted: both count as 1 there.
    assert float(rows[1]["tumor_slices_WT"]) == pytest.approx(0, abs=0.2)
    assert float(rows[1]["tumor_slices_TC"]) == pytest.approx(50, abs=0.2)
    assert summary["volumetric"]["mean"] == {
        "mean": 50.0,
        "sd": 70.71,
        "median": 50.0,
        "interval_95": None,
    }
    assert summary["tumor_slices"]["TC"]["mean"] == pytest.approx(75, abs=0.2)


def test_both_protocols_equal_brute_force(tmp_path: Path) -> None:
    cases = random_cases(6)
    summary, rows = report(tmp_path, cases)
    volumetric, by_slice = [], []
    for predicted, true in cases.values():
        volumetric.append(brute_dice(predicted.numpy(), true.numpy()))
        pairs = zip(predicted.numpy(), true.numpy(), strict=True)
        slices = [brute_dice(p, t, 1e-3) for p, t in pairs if t.any()]
        if slices:
            by_slice.append(np.mean(slices, axis=0))
    for i, region in enumerate(REGION_CLASSES):
        expected = 100 * np.mean(volumetric, axis=0)[i]
        assert summary["volumetric"][region]["mean"] == pytest.approx(expected, abs=0.006)
        expected = 100 * np.mean(by_slice, axis=0)[i]
        assert summary["tumor_slices"][region]["mean"] == pytest.approx(expected, abs=0.006)
        written = [float(row[f"volumetric_{region}"]) for row in rows]
        assert written == pytest.approx([100 * dice[i] for dice in volumetric], abs=0.006)
    means = 100 * np.mean(volumetric, axis=1)
    assert summary["volumetric"]["mean"]["sd"] == pytest.approx(means.std(ddof=1), abs=0.006)
    low, high = summary["volumetric"]["mean"]["interval_95"]
    assert means.min() <= low < means.mean() < high <= means.max()


def test_a_case_without_tumor_is_counted_and_left_out_of_slices(tmp_path: Path) -> None:
    summary, rows = report(tmp_path, random_cases(3))
    assert (summary["patients"], summary["patients_without_tumor_slices"]) == (3, 1)
    assert [row["tumor_slices_WT"] == "" for row in rows] == [False, False, True]
    assert rows[2]["volumetric_WT"] == "0.0"  # something was predicted where there is nothing
    nothing = torch.zeros(2, 4, 4, dtype=torch.long)
    summary, rows = report(tmp_path, {"P0": (nothing, nothing)})
    assert rows[0]["volumetric_mean"] == "100.0"
    assert "tumor_slices" not in summary and "random_slices" not in summary


def test_every_figure_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, _ = report(tmp_path, random_cases(3))
    assert (summary["data"], summary["part"]) == ("phantoms", "test")
    for protocol, words in {
        "volumetric": "whole volume",
        "tumor_slices": "not comparable with volumetric",
        "random_slices": "one random tumor slice per patient",
    }.items():
        assert words in summary[protocol]["what"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 patients of: phantoms"
    assert [line.split("   ")[-1] for line in printed[1:]] == [
        "volumetric",
        "tumor slices",
        "random slices",
    ]


def test_draws_average_to_the_mean_over_all_slices() -> None:
    generator = torch.Generator().manual_seed(1)
    slices = [torch.rand(n, 3, generator=generator) for n in (1, 4, 9)]
    drawn = random_draws(slices, 4000, seed=0)
    expected = torch.stack([dice.mean(0) for dice in slices]).mean(0)
    assert drawn[:, :3].mean(0) == pytest.approx(expected.numpy(), abs=0.01)
    assert drawn[:, 3] == pytest.approx(drawn[:, :3].mean(1))
    assert np.array_equal(random_draws(slices, 5, seed=0), drawn[:5])
    assert not np.array_equal(random_draws(slices, 5, seed=1), drawn[:5])


def test_one_draw_has_no_deviation() -> None:
    summary = summarize(torch.ones(1, 3), [torch.ones(2, 3)], draws=1, seed=0)
    assert summary["random_slices"]["WT"] == {"mean": 100.0, "sd": None}
    assert summary["volumetric"]["WT"]["sd"] is None


def test_the_interval_is_that_of_the_bootstrap() -> None:
    generator = np.random.default_rng(3)
    dice = generator.random((40, 3))
    summary = summarize(torch.from_numpy(dice), [torch.from_numpy(dice)], draws=2, seed=0)
    means = generator.choice(dice[:, 0], (20_000, 40)).mean(1)
    expected = 100 * np.quantile(means, (0.025, 0.975))
    assert summary["volumetric"]["WT"]["interval_95"] == pytest.approx(expected, abs=1)
