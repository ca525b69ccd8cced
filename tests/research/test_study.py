"""The study: what it compares, its statistics, and its command."""

import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from scipy import stats

from cggm.data.errors import InputError
from cggm.pipelines.methods import CATALOGUE, Joint
from cggm.pipelines.research.report.statistics import corrected_difference
from cggm.pipelines.research.study.command import main
from cggm.pipelines.research.study.controls import FixedFactors, constant, shuffled
from cggm.pipelines.research.study.findings import Study
from cggm.pipelines.research.study.mechanism import accuracy_noise, noise, reaching
from cggm.pipelines.research.study.sets import NAMES, Part, as_it_is, dial, load
from cggm.pipelines.research.study.training import train
from cggm.pipelines.research.study.variants import JOINT, OTHERS, RATES, all_variants
from cggm.pipelines.research.study.work import Result, jobs_left, read, search_left, work

from ..children import in_a_child

app = typer.Typer()
app.command()(main)


def result(data: str, variant: str, seed: int, val: float, test: float, **other: object) -> Result:
    given: dict = {"group": JOINT if variant == JOINT else "cggm", "rate": 1e-3, "epoch": 1}
    given |= {"classifiers": {"fast": 50.0, "slow": 40.0}, "factors": {}, **other}
    return Result(data=data, variant=variant, seed=seed, val=val, test=test, **given)


# --- data


def test_every_sample_is_tested_once_in_five_divisions() -> None:
    samples = dial(0.5, samples=100)
    tests = [samples.divided(seed)["test"] for seed in range(5)]
    assert sorted(torch.cat(tests).tolist()) == list(range(100))
    for seed in range(7):
        parts = samples.divided(seed)
        assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(100))
    assert not torch.equal(samples.divided(0)["test"], samples.divided(5)["test"])


def test_the_dial_hides_evidence_and_changes_nothing_else() -> None:
    """A linear model reads the slow modality where nothing is hidden, and guesses where all is."""

    def linear(share: float, name: str) -> float:
        samples = dial(share)
        x = np.c_[samples.inputs[name].numpy(), np.ones(len(samples.labels))]
        y = np.eye(6)[samples.labels.numpy()]
        weights = np.linalg.lstsq(x[:1000], y[:1000], rcond=None)[0]
        return float(((x[1000:] @ weights).argmax(1) == samples.labels.numpy()[1000:]).mean())

    assert linear(0, "slow") > 0.6 > 0.3 > linear(1, "slow")
    assert torch.equal(dial(0).labels, dial(1).labels)
    torch.testing.assert_close(dial(0).inputs["fast"], dial(1).inputs["fast"])


def test_a_part_gives_batches_and_standardizing_knows_the_training_samples_only() -> None:
    samples = dial(0, samples=60)
    train_part = samples.divided(0)["train"]
    inputs = samples.standardized(train_part)
    torch.testing.assert_close(
        inputs["slow"][train_part].mean(0), torch.zeros(16), atol=1e-5, rtol=0
    )
    loader = torch.utils.data.DataLoader(
        Part(inputs, samples.labels, train_part), 10, collate_fn=as_it_is
    )
    batch = next(iter(loader))
    assert batch["inputs"]["fast"].shape == (10, 156)
    assert torch.equal(batch["label"], samples.labels[train_part[:10]])


def test_data_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the study has no data 'food'; it has foods, stamps"):
        load("food", tmp_path)
    with pytest.raises(InputError, match=r"stand-ins foods --output"):
        load("foods", tmp_path)


# --- controls


def test_controls_play_the_same_factors_elsewhere() -> None:
    factors = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    mixed = shuffled(factors, 1)
    assert sorted(mixed.flatten().tolist()) == sorted(factors.flatten().tolist())
    assert not torch.equal(mixed, factors)
    assert constant(factors).tolist() == [[pytest.approx(factors.mean().item())] * 3]


def test_factors_of_one_are_joint_training_and_others_are_not() -> None:
    samples = dial(1.0, samples=200)
    joint, ones, none = (
        train(samples, method, seed=0, lr=1e-2, epochs=4)
        for method in (Joint(), FixedFactors(torch.ones(1, 2)), FixedFactors(torch.zeros(1, 2)))
    )
    assert (joint.val, joint.test, joint.classifiers) == (ones.val, ones.test, ones.classifiers)
    assert none.classifiers != joint.classifiers


@pytest.mark.parametrize("table", [torch.zeros(0, 2), torch.ones(3), torch.tensor([[1.0, -1.0]])])
def test_factors_that_are_none_are_refused(table: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"factors of 0 or more"):
        FixedFactors(table)


def test_every_variant_has_its_own_name_and_its_model_before_it() -> None:
    variants = all_variants(["fast", "slow"], "classification")
    names = [variant.name for variant in variants]
    assert len(set(names)) == len(names)
    assert set(OTHERS) <= set(CATALOGUE)
    for index, variant in enumerate(variants):
        if variant.control_of is not None:
            assert variant.control_of in names[:index]


def test_methods_with_other_networks_and_with_stages_train(tmp_path: Path) -> None:
    names = ["mslr", "umt", "ume", "qmf", "reconboost", "relearning"]
    kept = [result("dial-100", JOINT, s, 50, 50, rate=1e-3) for s in range(3)]
    left = jobs_left(kept, ["dial-100"], "", [0], names)
    work([type(job)(**{**vars(job), "epochs": 3}) for job in left], tmp_path / "r.jsonl", 1)
    done = {r.variant: r for r in read(tmp_path / "r.jsonl")}
    assert list(done) == names
    guess = 100 / 6
    assert {name for name, r in done.items() if r.val < guess} == set()
    assert done["umt"].val != done["mslr"].val  # which does nothing before its sixth epoch


def test_methods_are_compared_where_they_cover_the_task() -> None:
    names = [variant.name for variant in all_variants(["text", "vision"], "regression")]
    assert "qmf" not in names
    assert "reconboost" in names


# --- statistics


def test_the_interval_is_nadeau_and_bengios() -> None:
    draws = np.random.default_rng(0)
    ours, theirs = draws.normal(1, 1, 10), draws.normal(0, 1, 10)
    found = corrected_difference(list(ours), list(theirs))
    plain = stats.ttest_rel(ours, theirs)
    # The plain test's standard error, larger by the square root of 1 + n n_test / n_train.
    larger = math.sqrt(1 + 10 / 3)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(plain.statistic) / larger, 9))
    low, high = plain.confidence_interval()
    assert found.high - found.low == pytest.approx((high - low) * larger)
    same = corrected_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.mean, same.p) == (0, 1)
    with pytest.raises(ValueError, match=r"2 and 2 figures; expected three pairs"):
        corrected_difference([1.0, 2.0], [1.0, 2.0])


def test_the_default_is_chosen_on_validation_and_dials_count_once() -> None:
    results = [
        result(d, JOINT, s, 50, 50) for d in ("foods", "dial-0", "dial-100") for s in range(3)
    ]
    for seed in range(3):
        # "a" gains on the dials, "b" on real data, where its test figure is the worst.
        for data, a, b in (("foods", 0, 3), ("dial-0", 2, 0), ("dial-100", 2, 0)):
            results.append(result(data, "a", seed, 50 + a, 50 + a))
            results.append(result(data, "b", seed, 50 + b, 50 - b))
    study = Study(results)
    assert [(name, mean) for name, mean, _ in study.ranked()] == [("b", 1.5), ("a", 1.0)]
    assert [(d, name) for d, name, _ in study.left_out()] == [
        ("foods", "a"),
        ("dial-0", "b"),
        ("dial-100", "b"),
    ]
    estimate = study.estimate("foods", "b")
    assert estimate is not None
    assert estimate.mean == -3


def test_all_is_compared_at_the_rate_that_joint_training_chose() -> None:
    results = [
        result("foods", JOINT, s, val, 100 - val, rate=r)
        for s in range(3)
        for r, val in ((1e-3, 60), (2e-3, 70))
    ]
    results += [result("foods", "a", s, 99, 99, rate=1e-3) for s in range(3)]
    study = Study(results)
    assert study.search("foods") == ({1e-3: 60, 2e-3: 70}, 2e-3)
    assert study.mean("foods", JOINT) == 30
    assert study.estimate("foods", "a") is None


# --- mechanism


def test_a_factor_on_a_gradient_reaches_sgd_and_not_adam() -> None:
    gradients = torch.randn(120, 30, generator=torch.Generator().manual_seed(0)) + 0.5
    sgd, adam = (reaching(gradients, name, "gradient") for name in ("SGD", "AdamW"))
    step = reaching(gradients, "AdamW", "step")
    assert sgd["constant"] == pytest.approx(0.5)
    assert sgd["changing"] == pytest.approx(1)
    assert adam["constant"] == pytest.approx(1, abs=1e-3)
    assert adam["changing"] < 0.3
    assert step["constant"] == pytest.approx(0.5)
    assert step["changing"] == pytest.approx(1)


def test_noise_makes_the_printed_rule_negative_as_often_as_theory_says() -> None:
    """For two improvements without mean: B = 1 - a / (a + b) is Cauchy about 1/2 with scale 1/2."""
    found = noise(2, 0.0)
    assert found["negative"] == pytest.approx(stats.cauchy.cdf(0, 0.5, 0.5), abs=5e-3)
    expected = 2 * stats.cauchy.sf(10, 0, 0.5)
    assert found["above_10"] == pytest.approx(expected, rel=0.1)
    # Whole samples cancel exactly, and then only the released epsilon keeps the factor finite.
    assert accuracy_noise(2, 32)["above_1000"] > 30 * found["above_1000"]


# --- the command


def test_trainings_are_kept_one_by_one_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    jobs = search_left([], ["dial-100"], "", range(1))
    assert [job.rate for job in jobs] == list(RATES)
    kept = [result("dial-100", JOINT, s, 50, 50, rate=1e-3) for s in range(3)]
    left = jobs_left(kept, ["dial-100"], "", [0], ["bounded", "bounded: shuffled"])
    assert [job.variants for job in left] == [("bounded", "bounded: shuffled")]
    short = [type(job)(**{**vars(job), "epochs": 1}) for job in left]
    work(short, path, 1)
    done = read(path)
    assert [r.variant for r in done] == ["bounded", "bounded: shuffled"]
    assert set(done[0].factors) == {"mean", "spread", "negative", "huge", "neutral"}
    assert jobs_left([*kept, *done], ["dial-100"], "", [0], ["bounded", "bounded: shuffled"]) == []
    with pytest.raises(InputError, match=r"no variant is called 'bound'; there are joint; printed"):
        jobs_left(kept, ["dial-100"], "", [0], ["bound"])
    # A line that was cut short by a kill is done again.
    path.write_bytes(path.read_bytes()[:-20])
    assert [r.variant for r in read(path)] == ["bounded"]
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"holds something else than results"):
        read(path)


@pytest.mark.slow
def test_nothing_outlives_a_study_that_was_killed(tmp_path: Path) -> None:
    first, *others = search_left([], ["dial-100"], "", range(1))
    jobs = [replace(first, epochs=1), *(replace(job, epochs=100_000) for job in others)]
    study = in_a_child(lambda: work(jobs, tmp_path / "results.jsonl", 2))

    def at_work() -> list[Path]:
        listed = Path(f"/proc/{study}/task/{study}/children").read_text().split()
        return [Path("/proc", number) for number in listed]

    results = tmp_path / "results.jsonl"
    wait_for(lambda: results.is_file() and results.stat().st_size > 0)
    processes = at_work()
    assert len(processes) >= 2
    os.kill(study, signal.SIGKILL)
    os.waitpid(study, 0)
    wait_for(lambda: not any(process.exists() for process in processes))


def wait_for(condition: Callable[[], bool], seconds: float = 400) -> None:
    """Return when a condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_report_has_tables_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(InputError, match=r"has no results; start with"):
        app(["report", "--output", str(tmp_path)], standalone_mode=False)
    factors = {"mean": {"fast": 0.8, "slow": 1.2}, "spread": {"fast": 0.1, "slow": 0.1}}
    factors |= {"negative": 0.0, "huge": 0.0, "neutral": 0.1}
    results = []
    for seed in range(3):
        for data in ("foods", "dial-100"):
            results.append(result(data, JOINT, seed, 50 + seed, 50 + seed))
            results.append(result(data, "centered", seed, 52, 53 + seed, factors=factors))
            for name in ("fast", "slow"):
                results.append(result(data, f"{name} alone", seed, 40, 45, group="alone"))
    lines = (json.dumps(vars(r)) + "\n" for r in results)
    (tmp_path / "results.jsonl").write_text("".join(lines))
    app(["report", "--output", str(tmp_path)], standalone_mode=False)
    text = (tmp_path / "report/tables.md").read_text()
    assert "**+3.0 [+3.0, +3.0]**" in text
    assert "fast 45.0 / 50.0; slow 45.0 / 40.0" in text
    assert (tmp_path / "report/differences.png").read_bytes()[:4] == b"\x89PNG"
    assert str(tmp_path / "report/figures.csv") in capsys.readouterr().out
    assert set(NAMES) >= {"foods", "dial-100"}
