"""The study: families with the properties they claim, statistics, questions, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cggm.data.errors import InputError
from cggm.pipelines.methods import CATALOGUE, create
from cggm.pipelines.research.study.controls import FixedFactors
from cggm.pipelines.research.study.families import FAMILIES, TASKS, TEST, draw
from cggm.pipelines.research.study.findings import Findings
from cggm.pipelines.research.study.network import SmallEnsemble, SmallNetwork, classifiers_of
from cggm.pipelines.research.study.plan import (
    PRIMARY,
    SEARCH,
    Cell,
    Questions,
    Study,
    Training,
    questions,
)
from cggm.pipelines.research.study.report import write_report
from cggm.pipelines.research.study.statistics import (
    compare,
    detectable,
    pairs_for,
    ranking,
    verdicts,
)
from cggm.pipelines.research.study.training import batches_of, points, train
from cggm.pipelines.research.study.work import RESULTS, do, drop_cut_line, grouped, read

CHANCE = 25.0  # accuracy of four classes


# --- families


def scores(family: str, *, task: str = "classification", rate: float = 3e-3):
    """Means over two draws: joint training, its classifiers, and each modality trained alone."""
    rows = []
    for seed in range(2):
        parts = draw(family, 1.0, 2, task, seed)
        both = train(parts, task, create("joint"), seed=seed, lr=rate)
        row = {"joint": both.test, **{f"in {n}": v for n, v in both.classifiers.items()}}
        for name in both.classifiers:
            one = {key: part.of(name) for key, part in parts.items()}
            row[name] = train(one, task, create("joint"), seed=seed, lr=rate).test
        rows.append(row)
    return pd.DataFrame(rows).mean()


def test_what_is_late_is_learned_alone_and_less_in_joint_training() -> None:
    found = scores("late", rate=1e-2)
    assert found["m2"] > CHANCE + 20
    assert found["in m2"] < found["m2"] - 1
    assert abs(found["in m1"] - found["m1"]) < 4


def test_what_is_memorized_pulls_joint_training_below_the_best_modality() -> None:
    found = scores("memorized")
    assert found["joint"] < found["m1"] - 2
    assert found["m2"] < CHANCE + 3


def test_noise_tells_nothing_and_a_duplicate_nothing_new() -> None:
    noise, twice = scores("noise"), scores("duplicate")
    assert abs(noise["m2"] - CHANCE) < 2
    assert twice["joint"] < max(twice["m1"], twice["m2"]) + 2
    assert abs(twice["m1"] - twice["m2"]) < 3


def test_complements_need_each_other_and_xor_has_nothing_alone() -> None:
    halves, xor = scores("complementary"), scores("xor", rate=1e-2)
    assert halves["joint"] > max(halves["m1"], halves["m2"]) + 15
    assert max(xor["m1"], xor["m2"]) < CHANCE + 2
    assert xor["joint"] > CHANCE + 15


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_at_dial_zero_all_modalities_tell_the_same(family: str, task: str) -> None:
    """The best linear reading of each modality explains as much of u as that of the others."""
    parts = draw(family, 0.0, 3, task, 0, test=False)
    label = parts["val"].label.float().flatten()
    explained = []
    for values in parts["val"].inputs.values():
        flat = values.movedim(1, -1).flatten(0, -2)
        design = torch.cat([flat, torch.ones(len(flat), 1)], 1)
        fitted = design @ torch.linalg.lstsq(design, label[:, None]).solution
        explained.append(float(1 - (label - fitted[:, 0]).var() / label.var()))
    assert min(explained) > 0.1
    assert max(explained) - min(explained) < 0.08


def test_draws_are_independent_and_repeatable_and_large_enough_to_test() -> None:
    first, again, other = (draw("late", 1.0, 4, "regression", seed) for seed in (0, 0, 1))
    assert len(first["test"]) == TEST["regression"] == 20_000
    assert list(first["train"].inputs) == ["m1", "m2", "m3", "m4"]
    torch.testing.assert_close(first["val"].inputs["m4"], again["val"].inputs["m4"])
    a, b = (part["val"].label[:, 0] for part in (first, other))
    assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 0.15
    with pytest.raises(InputError, match=r"no family 'latest'; there are late, memorized"):
        draw("latest", 1.0, 2, "regression", 0)


# --- training


def test_points_of_a_perfect_and_of_a_blind_prediction() -> None:
    label = torch.tensor([0, 1, 2, 3])
    assert points(torch.eye(4), label, "classification") == 100
    values = torch.tensor([[1.0], [2.0], [6.0]])
    assert points(values, values, "regression") == 100
    assert points(values.mean().expand(3, 1), values, "regression") == pytest.approx(0, abs=1e-4)
    mask = torch.tensor([[[[0, 1], [2, 3]]]])
    logits = torch.nn.functional.one_hot(mask[:, 0], 4).movedim(-1, 1).float()
    assert points(logits, mask, "segmentation") == 100
    # Class 1 everywhere: Dice 2 * 1 / (1 + 4) of class 1, 0 of 2 and 3.
    ones = torch.zeros(1, 4, 2, 2)
    ones[:, 1] = 1
    assert points(ones, mask, "segmentation") == pytest.approx(40 / 3, abs=1e-3)


def test_methods_share_weights_and_batches_and_constant_factors_of_one_change_nothing() -> None:
    parts = draw("noise", 1.0, 2, "classification", 0)
    first, second = (next(iter(batches_of(parts["train"], 64, 5)))["label"] for _ in range(2))
    assert torch.equal(first, second)
    plain = train(parts, "classification", create("joint"), seed=0, lr=1e-2)
    ones = train(parts, "classification", FixedFactors(torch.ones(1, 2)), seed=0, lr=1e-2)
    assert (plain.test, plain.val) == (ones.test, ones.val)


# --- statistics


def test_images_get_a_prediction_per_pixel_or_one_each() -> None:
    inputs = {"picture": torch.ones(2, 3, 8, 8), "sound": torch.ones(2, 1, 8, 8)}
    for per_pixel, shape in ((True, (2, 4, 8, 8)), (False, (2, 4))):
        network = SmallNetwork(inputs, 4, per_pixel=per_pixel)
        assert network(inputs).shape == shape
        features = network.encode(inputs)
        for name, classifier in classifiers_of(network).items():
            assert classifier(features[name]).shape == shape
        assert SmallEnsemble(inputs, 4, "mean", per_pixel=per_pixel)(inputs).shape == shape
    other_size = {"picture": torch.ones(2, 3, 8, 8), "sound": torch.ones(2, 1, 32, 66)}
    assert SmallNetwork(other_size, 4, per_pixel=False)(other_size).shape == (2, 4)


def test_a_comparison_is_scipys_paired_test_and_two_one_sided_ones() -> None:
    draws = np.random.default_rng(0)
    ours, theirs = draws.normal(0.4, 1, 30), draws.normal(0, 1, 30)
    found = compare(pd.Series(ours), pd.Series(theirs), 1.0)
    assert found is not None
    plain = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval()))
    below = stats.ttest_1samp(ours - theirs, 1.0, alternative="less").pvalue
    above = stats.ttest_1samp(ours - theirs, -1.0, alternative="greater").pvalue
    assert found.p_equivalent == pytest.approx(max(below, above))
    assert compare(pd.Series([1.0, 2.0]), pd.Series([0.0, 0.0]), 1.0) is None
    same = compare(pd.Series([1.0, 2.0, 3.0]), pd.Series([1.0, 2.0, 3.0]), 1.0)
    assert same is not None
    assert verdicts([same], 0.05) == ["equivalent"]


def test_verdicts_are_corrected_over_all_of_them() -> None:
    """p = 0.03 is a difference alone, and none among two of its kind."""
    draws = np.random.default_rng(1).normal(size=30)
    noise = pd.Series((draws - draws.mean()) / draws.std(ddof=1))
    zero = pd.Series(np.zeros(30))
    # t = mean * sqrt(30) at deviation 1; the mean that has p = 0.03 exactly.
    mean = float(stats.t.isf(0.015, 29)) / 30**0.5
    one = compare(noise + mean, zero, 0.1)
    assert one is not None
    assert one.p == pytest.approx(0.03)
    assert verdicts([one], 0.05) == ["better"]
    assert verdicts([one, one], 0.05) == ["undecided", "undecided"]
    worse = compare(noise - 5, zero, 0.1)
    assert worse is not None
    assert verdicts([one, worse], 0.05) == ["better", "worse"]
    small = compare(noise / 100 + 0.2, zero, 1.0)
    assert small is not None
    assert verdicts([small], 0.05) == ["better, equivalent"]


def test_thirty_draws_find_half_a_deviation() -> None:
    """The figure that the file of questions names: noncentral t, n = 30, power 0.8."""
    effect = detectable(1.0, 30, 0.05)
    assert effect == pytest.approx(0.53, abs=0.005)
    beyond = stats.t.isf(0.025, 29)
    assert stats.nct.sf(beyond, 29, effect * 30**0.5) == pytest.approx(0.8, abs=0.001)
    assert detectable(2.0, 30, 0.05 / 88) == pytest.approx(2 * 0.87, abs=0.01)


def test_ranks_are_friedmans() -> None:
    table = pd.DataFrame(
        {"joint": [1.0, 1.0, 2.0, 1.0], "a": [2.0, 3.0, 1.0, 2.0], "b": [3.0, 2.0, 3.0, 3.0]}
    )
    found = ranking(table, "joint")
    assert found is not None
    assert dict(found.ranks) == {"b": 1.25, "a": 2.0, "joint": 2.75}
    # 12 n / (k (k + 1)) sum (R - (k + 1) / 2)^2 = 4.5 for n = 4, k = 3
    assert found.p == pytest.approx(stats.chi2.sf(4.5, 2))
    assert ranking(table[["joint", "a"]], "joint") is None


# --- questions and plan


def result(cell: str, method: str, draw: int, test: float, *, val: float = 50.0, **other):
    """A line of results as a training leaves it."""
    training = Training(cell, method, 0.0, 1e-3, draw, "test")
    line = asdict(replace(training, **other)) | {"val": val, "test": test, "epoch": 1}
    return line | {
        "missing": {"m1": 30.0, "m2": 30.0},
        "classifiers": {"m1": 40.0, "m2": 35.0},
        "factors": [] if method == "joint" else [[0.8, 1.2]] * 5,
        "gradients": [[0.2, 0.1]] * 5,
    }


def one_cell(**draws: int) -> Questions:
    """Questions about complementary data only, of few draws."""
    asked = questions(["complementary"], ["cggm", "ogm_ge", "mslr", "agm"], quick=True)
    return replace(asked, draws=asked.draws | draws)


def test_the_file_asks_of_methods_and_cells_that_there_are() -> None:
    asked = questions()
    assert set(asked.content["methods"]) < set(CATALOGUE)
    assert set(asked.primary) < set(asked.cells)
    assert len(asked.cells) == len(asked.content["primary"]) + len(asked.content["secondary"])
    assert asked.draws[PRIMARY] >= 30
    assert {asked.cells[name].family for name in asked.primary} == set(FAMILIES)
    assert {cell.modalities for cell in asked.cells.values()} == {2, 3, 4}
    with pytest.raises(InputError, match=r"trains no method 'umt'; it has agm"):
        questions(methods=["umt"])


def test_rates_and_the_best_others_are_chosen_on_validation_and_never_on_test() -> None:
    asked = one_cell(search=2)
    search = {"purpose": SEARCH}
    lines = []
    for at in range(2):
        for method, val in (("joint", 50), ("cggm", 90), ("ogm_ge", 70), ("mslr", 60), ("agm", 40)):
            lines.append(result("complementary", method, at, 0.0, val=val, **search))
            lines.append(result("complementary", method, at, 0.0, val=val - 9, rate=0.01, **search))
    lines += [result("complementary", "agm", at, 99.0, val=99.0) for at in range(3)]
    study = Study(asked, pd.DataFrame(lines))
    assert study.rate("complementary", "agm") == 1e-3
    assert study.best_others() == ["ogm_ge", "mslr"]
    assert study.compared() == ["joint", "cggm", "ogm_ge", "mslr"]
    # What is left: every other rate of the search first; no test before.
    assert {training.purpose for training in study.left()} == {SEARCH}


def test_a_study_ends_and_does_nothing_twice() -> None:
    asked = one_cell(search=1, primary=3, alone=3)
    lines, stages = [], []
    while left := Study(
        asked,
        pd.DataFrame(lines, columns=None if lines else [*vars(Training("", "", 0, 0, 0, ""))]),
    ).left():
        stages.append({(training.purpose, training.dropout) for training in left})
        lines += [asdict(training) | {"val": 1.0, "test": 1.0} for training in left]
    assert stages == [{(SEARCH, 0.0)}, {(SEARCH, 0.3)}, {("test", 0.0), ("test", 0.3)}]
    assert len({tuple(line.values()) for line in lines}) == len(lines)
    tested = [line for line in lines if line["purpose"] == "test"]
    seeds = {Training(**{k: line[k] for k in list(line)[:6]}).seed for line in tested}
    searched = {Training(**{k: line[k] for k in list(line)[:6]}).seed for line in lines} - seeds
    assert seeds and searched and min(searched) > max(seeds)


@pytest.mark.parametrize("gain", [0.0, 20.0])
def test_a_wide_interval_gets_draws_by_its_deviation_and_never_by_its_mean(gain: float) -> None:
    asked = replace(one_cell(search=1, primary=4, alone=4), half_width=0.9)
    lines: list[dict] = []
    frame = pd.DataFrame(columns=[*vars(Training("", "", 0, 0, 0, "")), "val", "test"])
    while left := Study(asked, frame).left():
        for one in left:
            swing = 1.5 * (-1) ** one.draw if (one.method, one.dropout) == ("cggm", 0.3) else 0.0
            lines.append(asdict(one) | {"val": 1.0, "test": 50 + gain * (swing != 0) + swing})
        frame = pd.DataFrame(lines)
    tested = frame[frame["purpose"] == "test"].groupby(["method", "dropout"])["draw"].nunique()
    first = pairs_for(pd.Series([1.5, -1.5] * 2), 0.9, 0.05)
    assert first > 30  # of four draws only: more than it takes
    most = pairs_for(pd.Series(([1.5, -1.5] * first)[:first]), 0.9, 0.05)
    assert most == first
    assert tested["cggm", 0.3] == tested["joint", 0.3] == most
    assert set(tested.drop([("cggm", 0.3), ("joint", 0.3)])) == {4}


def test_primary_comparisons_are_told_from_exploratory_ones() -> None:
    asked = one_cell(search=1)
    lines = [
        result("complementary", method, 0, 0.0, val=val, purpose=SEARCH)
        for method, val in (("joint", 50), ("cggm", 50), ("ogm_ge", 70), ("mslr", 60), ("agm", 40))
    ]
    lines += [result("complementary", "m1 alone", 0, 0.0, purpose=SEARCH)]
    for at in range(8):
        lines += [
            result("complementary", method, at, 50 + 0.1 * at + gain)
            for method, gain in (("joint", 0), ("cggm", 3 + at % 2), ("mslr", 0), ("agm", 9))
        ]
        lines.append(result("complementary", "m1 alone", at, 40.0 + at % 2))
    findings = Findings(Study(asked, pd.DataFrame(lines)))
    found = findings.comparisons().set_index("method")
    assert found.loc["cggm", ["group", "verdict"]].tolist() == ["primary", "better"]
    assert found.loc["mslr", "verdict"] == "equivalent"
    assert found.loc["agm", ["group", "verdict"]].tolist() == ["exploratory", ""]
    (line,) = findings.imbalance()
    assert (line["best"], line["inside"]) == ("m1", {"m1": 40.0, "m2": 35.0})
    assert line["gap"].mean == pytest.approx(line["joint"] - 40.5)
    factors = findings.mechanism("complementary", "cggm")
    assert factors is not None
    np.testing.assert_allclose(factors, [[0.8, 1.2]] * 5)


# --- trainings, and the command


def test_what_one_method_cannot_do_is_noted_and_does_not_stop_the_others() -> None:
    cell = Cell("noise")
    lines = do(cell, [Training(cell.name, name, 0.3, 1e-2, 0, SEARCH) for name in ("ume", "joint")])
    assert "no fusion to drop a modality from" in lines[0]["failure"]
    assert lines[1]["val"] > 40
    assert lines[1]["test"] is None  # draws of the search are never tested on
    assert len(lines[1]["gradients"]) == 5


def test_a_line_that_a_kill_cut_short_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    whole = json.dumps(result("noise", "joint", 0, 50.0)) + "\n"
    path.write_text(whole + whole[:-20])
    assert len(read(tmp_path)) == 1
    drop_cut_line(path)
    assert path.read_text() == whole
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"holds something else than results"):
        read(tmp_path)


def test_a_report_without_tests_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tested method yet; go on with `cggm study run`"):
        write_report(one_cell(), tmp_path)


def test_trainings_of_a_draw_go_together_and_few_at_a_time() -> None:
    left = [
        Training(c, "joint", 0.0, r, d, SEARCH) for c in "ab" for d in (0, 1) for r in range(13)
    ]
    groups = list(grouped(left))
    assert [len(group) for group in groups] == [12, 1] * 4
    assert all(len({(one.cell, one.draw) for one in group}) == 1 for group in groups)


STUDY = ["run", "--quick", "--families", "complementary", "--methods", "cggm", "--draws", "3"]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_reports(tmp_path: Path) -> None:
    program = "from cggm.pipelines.commands.app import main; main()"
    command = [sys.executable, "-P", "-c", program, "study", *STUDY, "--output", str(tmp_path)]
    results = tmp_path / RESULTS
    study = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + 400
    while not (results.is_file() and results.stat().st_size):
        assert study.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)
    os.kill(study.pid, signal.SIGKILL)
    study.wait()
    drop_cut_line(results)
    before = results.read_text()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    assert results.read_text().startswith(before)
    frame = read(tmp_path)
    assert not frame.duplicated(["cell", "method", "dropout", "rate", "draw", "purpose"]).any()
    asked = questions(["complementary"], ["cggm"], quick=True, draws=3)
    assert Study(asked, frame).left() == []
    tables = (tmp_path / "report/tables.md").read_text()
    assert "Primary questions of 2026-11-29, written before" in tables
    assert "| complementary |" in tables
    for name in ("differences", "factors"):
        assert (tmp_path / f"report/{name}.png").read_bytes()[:4] == b"\x89PNG"
