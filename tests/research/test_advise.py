"""Advice on a user's own data: what it reads, trains, finds, says and writes."""

import json
import math
import runpy
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from scipy import stats

from cggm.data.errors import InputError
from cggm.data.features.feature_set import write_feature_set_header, write_samples
from cggm.data.features.file import write_features
from cggm.pipelines.research.advise.command import main
from cggm.pipelines.research.advise.decide import find, guessed
from cggm.pipelines.research.advise.load import load
from cggm.pipelines.research.advise.page import html
from cggm.pipelines.research.advise.plan import (
    ALONE,
    JOINT,
    RATES,
    SEARCH,
    Job,
    Row,
    Variant,
    all_jobs,
    chosen_rates,
    epochs_for,
    search_jobs,
    trained,
    variants_for,
)
from cggm.pipelines.research.advise.samples import Samples
from cggm.pipelines.research.advise.words import command_for, headline, sentences
from cggm.pipelines.research.advise.work import Rows, here, work
from cggm.pipelines.research.report.statistics import corrected_difference
from cggm.pipelines.research.study.families import draw as draw_family

from ..data.brains import write_case

app = typer.Typer()
app.command()(main)


def draw(family: str, count: int) -> Samples:
    """Samples of a family of the study, of two modalities and four classes."""
    part = draw_family(family, 1.0, 2, "classification", 0, test=False)["val"].at(
        torch.arange(count)
    )
    ids = tuple(map(str, range(count)))
    inputs = {"first": part.inputs["m1"], "second": part.inputs["m2"]}
    return Samples(f"generated: {family}", inputs, part.label, ids, 4)


def set_of(
    samples: Samples, folder: Path, *, groups: int | None = None, tests: int = 0, steps: int = 2
) -> Path:
    """Write samples as a feature set, each vector as steps whose mean it is."""
    count = len(samples.labels)
    ids = [f"s{i:04}" for i in range(count)]
    rows = [
        {
            "id": name,
            "label": f"class {int(label)}" if samples.classes else float(label),
            "group": "" if groups is None else f"g{i % groups}",
            "split": "" if not tests else "test" if i < tests else "train",
        }
        for i, (name, label) in enumerate(zip(ids, samples.labels, strict=True))
    ]
    for modality, values in samples.inputs.items():
        shift = np.linspace(-1, 1, steps)[:, None]
        sequences = ((name, v.numpy() + shift) for name, v in zip(ids, values, strict=True))
        write_features(folder / f"{modality}.npy", sequences, about={})
    write_samples(folder, rows)
    classes = [f"class {i}" for i in range(samples.classes)] if samples.classes else None
    write_feature_set_header(
        folder,
        name=samples.name,
        task=samples.task,
        classes=classes,
        generated=True,
        modalities=samples.modalities,
    )
    return folder


def regression(count: int) -> Samples:
    """A value that "first" tells and "second" does not."""
    draws = torch.Generator().manual_seed(0)
    first, second = (torch.randn(count, 4, generator=draws) for _ in range(2))
    return Samples(
        "sums",
        {"first": first, "second": second},
        first.sum(1, keepdim=True),
        tuple(map(str, range(count))),
        None,
    )


# --- data


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen cases: two of one patient, one without tumor, one without T1ce."""
    folder = tmp_path_factory.mktemp("patients")
    for number in range(12):
        write_case(folder, f"sub-{number:02}_ses-1", number, tumor=number != 10)
    write_case(folder, "sub-00_ses-2", 12)
    (folder / "sub-11_ses-1" / "sub-11_ses-1_t1ce.nii.gz").unlink()
    return folder


def test_a_feature_set_is_read_as_means_and_its_test_part_is_left_alone(tmp_path: Path) -> None:
    drawn = draw("late", 150)
    samples = load(set_of(drawn, tmp_path, tests=30), most=1000)
    torch.testing.assert_close(samples.inputs["second"], drawn.inputs["second"][30:])
    assert torch.equal(samples.labels, drawn.labels[30:])
    assert samples.left_out == "30 samples of the published test part"
    fewer = load(tmp_path, most=100)
    assert len(fewer.labels) == 100
    assert fewer.left_out.endswith("and 20 more samples, to save time")
    assert fewer.digest != samples.digest


def test_every_sample_is_tested_once_in_five_divisions_and_no_group_is_broken(
    tmp_path: Path,
) -> None:
    samples = load(set_of(draw("noise", 120), tmp_path, groups=20), most=1000)
    tests = [samples.divided(division)["test"] for division in range(5)]
    assert sorted(torch.cat(tests).tolist()) == list(range(120))
    for division in range(10):
        parts = samples.divided(division)
        assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(120))
        of = {name: {samples.groups[i] for i in part} for name, part in parts.items()}
        assert not of["train"] & of["test"] and not of["train"] & of["val"]


def test_data_that_cannot_be_advised_on_are_refused(tmp_path: Path) -> None:
    few = set_of(draw("noise", 40), tmp_path / "few")
    with pytest.raises(InputError, match=r"has 40 samples of 40 groups .* at least 100 samples"):
        load(few, most=1000)
    with pytest.raises(InputError, match=r"has the modality first only"):
        load(few, most=1000, modalities=["first"])
    with pytest.raises(InputError, match=r"--minutes is 0; expected more than 0"):
        app([str(few), "--minutes", "0"], standalone_mode=False)


def test_patients_are_read_as_crops_around_their_tumor(patients: Path) -> None:
    samples = load(patients, modalities=["flair", "t1ce"])
    assert samples.task == "segmentation" and samples.modalities == ["flair", "t1ce"]
    assert samples.left_out == "1 case without all sequences and 1 case without tumor"
    assert len(set(samples.groups)) == 10 and len(samples.groups) == 11 * 5
    assert samples.inputs["t1ce"].shape == samples.labels.shape == (55, 1, 32, 32)
    assert samples.labels.unique().tolist() == [0, 1, 2, 3]
    tumor = samples.labels[:, 0].nonzero()[:, 1:].float()
    torch.testing.assert_close(tumor.mean(0), torch.tensor([15.5, 15.5]), atol=1, rtol=0)
    for division in range(5):
        rows = samples.divided(division)
        of = {name: {samples.groups[i] for i in part} for name, part in rows.items()}
        assert not of["train"] & (of["test"] | of["val"]) and not of["test"] & of["val"]
    with pytest.raises(InputError, match=r"has \d patients with a tumor and all of .* at least 10"):
        load(patients, most=9)
    with pytest.raises(InputError, match="t1 is one sequence; there is nothing to balance"):
        load(patients, modalities=["t1"])


def test_guessing_takes_the_best_class_for_everything(patients: Path) -> None:
    assert guessed(Samples("", {}, torch.tensor([0, 1, 1, 2]), (), 3)) == 50
    assert guessed(regression(100)) == 0
    samples = load(patients)
    counts = samples.labels.flatten().bincount().double()
    share = float(counts[1:].max() / counts.sum())  # Dice of one class: 2 share / (1 + share)
    assert guessed(samples) == pytest.approx(200 / 3 * share / (1 + share))


# --- trainings


def test_parts_are_standardized_by_the_training_samples_labels_of_a_regression_too() -> None:
    samples = regression(100)
    samples.inputs["second"][:, 0] = 7.0  # a column that tells nothing
    parts = samples.parts(0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 60, "val": 20, "test": 20}
    train = parts["train"]
    assert float(train.label.mean()) == pytest.approx(0, abs=1e-6)
    assert float(train.label.std()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(train.inputs["first"].std(0), torch.ones(4))
    assert not parts["test"].inputs["second"][:, 0].any()


def test_a_training_is_repeatable_and_a_factor_is_of_one_encoders_rate() -> None:
    samples = draw("noise", 200)
    parts = samples.parts(1)

    def outcome(variant: Variant):
        return trained(samples, Job(variant, 1, 1e-2), parts, 8)

    joint = outcome(Variant(JOINT, JOINT))
    again = outcome(Variant("first x 1", "rate", modality="first"))
    assert (joint.val, joint.test, joint.gradients) == (again.val, again.test, again.gradients)
    assert set(joint.classifiers) == {"first", "second"}
    still = outcome(Variant("first x 0", "rate", modality="first", factor=0.0))
    assert still.gradients != joint.gradients
    alone = outcome(Variant("first alone", "alone", modality="first"))
    assert set(alone.classifiers) == {"first"}


def test_few_samples_have_more_epochs_so_that_steps_are_as_many() -> None:
    assert epochs_for(draw("noise", 1000)) == 18  # 9 batches of 64
    assert epochs_for(draw("noise", 100)) == 160


def test_all_search_the_same_rates_and_encoders_take_that_of_joint_training() -> None:
    samples = draw("noise", 100)
    variants = variants_for(samples, ["cggm"])
    assert [v.name for v in variants] == [
        *("joint", "first alone", "second alone", "cggm"),
        *("first x 3", "first x 1/3", "second x 3", "second x 1/3"),
    ]
    jobs = search_jobs(variants)
    assert len(jobs) == 4 * len(RATES) * len(SEARCH)
    best = {"joint": 1e-3, "cggm": 1e-2}
    rows = [
        Row(
            j.variant.name,
            j.division,
            j.rate,
            float(best.get(j.variant.name, 3e-3) == j.rate),
            0,
            1,
        )
        for j in jobs
    ]
    rates = chosen_rates(variants, rows)
    assert rates["cggm"] == 1e-2
    assert rates["second x 3"] == rates["joint"] == 1e-3
    assert rates["first alone"] == 3e-3
    assert len(list(all_jobs(variants, rows, 4))) == 4 * len(variants)


def test_methods_that_cannot_be_compared_are_refused() -> None:
    samples = regression(100)
    with pytest.raises(InputError, match=r"no method is called 'cgm' \(did you mean 'cggm'\?\)"):
        variants_for(samples, ["cgm"])
    with pytest.raises(InputError, match=r"qmf cannot train a regression of 2 modalities"):
        variants_for(samples, ["qmf"])
    with pytest.raises(InputError, match=r"umt is not compared here"):
        variants_for(samples, ["umt"])


def test_rows_are_kept_and_others_data_refused(tmp_path: Path) -> None:
    path = tmp_path / "r" / "trainings.jsonl"
    about = {"data": "a", "rates": RATES}
    rows = Rows(path, about)
    job = Job(Variant(JOINT, JOINT), 0, 1e-3)
    rows.add(Row("joint", 0, 1e-3, 50, 50, 3))
    with open(path, "a") as file:
        file.write('{"variant": "cg')  # cut short by a kill
    again = Rows(path, about)
    assert again.rows == rows.rows
    assert again.left([job, Job(job.variant, 1, 1e-3)]) == [Job(job.variant, 1, 1e-3)]
    again.add(Row("joint", 1, 1e-3, 50, 50, 3))
    assert len(Rows(path, about).rows) == 2
    with pytest.raises(InputError, match=r"is of other data; choose another --output"):
        Rows(path, {**about, "data": "b"})
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match=r"is damaged .*; remove it"):
        Rows(path, about)


def test_work_ends_with_the_time_and_goes_on(tmp_path: Path) -> None:
    samples = draw("noise", 100)
    variants = variants_for(samples, ["cggm"])

    def do(job: Job) -> Row:
        return Row(job.variant.name, job.division, job.rate, 50, 50, 1, 0, {})

    rows = Rows(tmp_path / "r.jsonl", {})
    assert work(variants, rows, 3, here(do), seconds=0)
    assert len(rows.rows) == 0
    with pytest.raises(InputError, match=r"0 trainings are done, which is 0 whole divisions"):
        find(samples, variants, rows.rows, 3)
    assert work(variants, rows, 3, here(do), seconds=60) == []
    # The two divisions of the search hold one rate each of what is trained in all divisions.
    assert len(rows.rows) == 24 + 3 * 8 - 2 * 4
    assert len({row.key for row in rows.rows}) == len(rows.rows)


# --- findings


def rows_with(
    variants: list[Variant], tests: dict[str, float], within: dict[str, float]
) -> list[Row]:
    """Five divisions of given test figures, with a little spread, all at the first rate."""
    noise = np.random.default_rng(0)
    rows = []
    for job in [*search_jobs(variants), *(Job(v, d, RATES[0]) for v in variants for d in range(5))]:
        test = tests.get(job.variant.name, 70.0)
        val = test if job.rate == RATES[0] else 0.0
        shown = test + noise.normal(0, 0.3) + job.division
        classifiers = {name: value + job.division for name, value in within.items()}
        rows.append(Row(job.variant.name, job.division, job.rate, val, shown, 1, 0, classifiers))
    return rows


def advice(tests: dict[str, float], within: dict[str, float] | None = None):
    samples = draw("complementary", 120)
    variants = variants_for(samples, ["cggm", "ume"])
    alone = {"first alone": 60.0, "second alone": 50.0, **tests}
    rows = rows_with(variants, alone, {"first": 59.0, "second": 49.0, **(within or {})})
    found = find(samples, variants, rows, 5)
    return samples, found


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


def test_nothing_that_is_better_means_joint_training_is_enough() -> None:
    samples, found = advice({})
    assert (found.verdict, found.signs, found.advised) == ("joint", [], None)
    assert headline(found).startswith("Joint training is enough here")
    text = " ".join(sentences(samples, found))
    assert "Imbalance between the modalities is not shown." in text
    assert "Of cggm and ume none is shown to be better than joint training." in text
    assert "Joint training reaches 72.0, which is better than first alone" in text


def test_a_method_that_is_better_is_advised_with_its_settings() -> None:
    _, found = advice({"cggm": 76.0, "ume": 64.0})
    assert (found.verdict, found.advised.variant.name) == ("method", "cggm")
    assert headline(found).startswith("Train with cggm: 6.")
    assert [a.variant.name for a in found.methods if a.harms] == ["ume"]


def test_imbalance_is_named_by_each_of_its_signs() -> None:
    samples, found = advice(
        {"joint": 55.0, "second x 3": 60.0, "cggm": 55.0, "ume": 55.0}
        | {name: 55.0 for name in ("first x 3", "first x 1/3", "second x 1/3")},
        {"second": 30.0},
    )
    assert found.signs == ["below", "short", "rates"]
    said = sentences(samples, found)
    assert "worse than first alone" in said[0] and "second learns far less" in said[0]
    assert found.verdict in ("rates", "single")


def test_a_modality_that_tells_nothing_is_named() -> None:
    most = float(draw("complementary", 120).labels.bincount().max()) / 1.2
    samples, found = advice({"second alone": most}, {"second": 10.0})
    second = found.modalities[1]
    assert found.guessing == pytest.approx(most)
    assert not second.informs and not second.falls_short
    assert any(
        s.startswith("second is not shown to tell anything") for s in sentences(samples, found)
    )


def test_wide_intervals_are_called_so() -> None:
    samples = draw("complementary", 120)
    variants = variants_for(samples, ["cggm"])
    rows = [
        Row(
            r.variant,
            r.division,
            r.rate,
            r.val,
            r.test + 8 * (-1) ** r.division,
            1,
            0,
            r.classifiers,
        )
        if r.variant == "cggm"
        else r
        for r in rows_with(variants, {}, {"first": 70.0, "second": 70.0})
    ]
    found = find(samples, variants, rows, 5)
    assert found.verdict == "unclear"
    assert "these data cannot tell differences below about" in headline(found)


def test_settings_are_those_of_the_bundles() -> None:
    from cggm.pipelines.methods import create

    variants = {v.name: v for v in variants_for(draw("noise", 100))}
    assert (
        command_for(variants["joint + dropout"], "classification")
        == "--method joint --modality_dropout 0.3"
    )
    words = command_for(variants["second x 3"], "classification")
    assert words == (
        "--method mslr --methods#mslr#strategy keep --methods#mslr#factors \"{'second': 3}\""
    )
    create("mslr", {"mslr": {"strategy": "keep", "factors": {"second": 3}}})
    assert command_for(Variant("t1ce alone", ALONE, modality="t1ce"), "segmentation") == (
        "--sequences \"['t1ce']\" --method joint"
    )


# --- the command


class Links(HTMLParser):
    """What a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_all_it_needs_and_escapes_names() -> None:
    _, found = advice({"cggm": 76.0})
    samples = draw("noise", 100)
    named = type(samples)(**{**vars(samples), "name": "<script>alert(1)</script>"})
    page = html(named, found)
    assert "<script>" not in page and "&lt;script&gt;" in page
    links = Links()
    links.feed(page)
    assert len(links.found) == 1
    assert links.found[0].startswith("data:image/png;base64,")


def test_the_command_trains_writes_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_of(regression(100), tmp_path / "sums")
    words = ["sums", "--divisions", "3", "--methods", "ume", "--jobs", "1", "--epochs", "3"]
    with pytest.raises(InputError, match=r"the same command goes on"):
        app([*words, "--minutes", "1e-9"], standalone_mode=False)
    app(words, standalone_mode=False)
    out = capsys.readouterr().out
    folder = tmp_path / "output/advise/sums"
    content = json.loads((folder / "advice.json").read_text())
    assert content["advice"] in out and content["divisions"] == 3
    assert "100 times R squared" in out
    first = content["modalities"][0]
    assert first["name"] == "first" and first["alone"] > 20
    rows = (folder / "trainings.jsonl").read_text()
    lines = (folder / "advice.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[:3]] == ["variant", "joint", "ume"]
    assert (folder / "advice.html").read_text().startswith("<!DOCTYPE html>")
    app(words, standalone_mode=False)  # all is done
    assert (folder / "trainings.jsonl").read_text() == rows


def test_patients_get_advice_on_dice(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--divisions", "3", "--methods", "cggm", "--jobs", "1", "--epochs", "2"]
    words += ["--modalities", "flair,t1ce", "--output", str(tmp_path / "out")]
    app([str(patients), *words], standalone_mode=False)
    out = capsys.readouterr().out
    assert "percent of Dice" in out and "five slices of each of 10 patients" in out
    assert "Not used: 1 case without all sequences" in out
    content = json.loads((tmp_path / "out/advice.json").read_text())
    assert content["task"] == "segmentation" and content["divisions"] == 3
    assert 0 <= content["joint"] <= 100


@pytest.mark.slow
def test_rays_trainings_are_those_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_of(regression(100), tmp_path / "sums")
    words = ["sums", "--divisions", "3", "--methods", "ume", "--epochs", "2"]
    for jobs in ("1", "2"):
        app([*words, "--jobs", jobs, "--output", jobs], standalone_mode=False)
    csvs = [(tmp_path / jobs / "advice.csv").read_text() for jobs in ("1", "2")]
    assert csvs[0] == csvs[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["balanced", "late", "noise"])
def test_advice_is_right_on_a_draw(kind: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "advise.py"
    bench = runpy.run_path(str(path))
    assert bench["judge"](kind, 100, 5, tmp_path, time.monotonic() + 3600)
    assert [line["right"] for line in bench["read"](tmp_path)] == [True]
