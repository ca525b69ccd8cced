"""Tables: what the runs measured, and no more than the seeds allow."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from cggm.bundles import path
from cggm.data.errors import InputError
from cggm.pipelines.research.experiments.record import surroundings, write_record
from cggm.pipelines.research.experiments.run import Run
from cggm.pipelines.research.report.collect import collect
from cggm.pipelines.research.report.command import main
from cggm.pipelines.research.report.formats import latex, markdown
from cggm.pipelines.research.report.measured import figures_of, measure
from cggm.pipelines.research.report.pieces import Cell, Table
from cggm.pipelines.research.report.published import comparison_of
from cggm.pipelines.research.report.statistics import difference, holm, summarize
from cggm.pipelines.research.report.write import write_tables


def papers_recipe(bundle: str) -> dict[str, Any]:
    """All settings of a bundle's paper.json."""
    return json.loads(Path(path(bundle), "paper.json").read_text())


def finished(output: Path, name: str, row: str, seed: int, method: str, **other: Any) -> None:
    """What a finished run leaves, without running it."""
    figures = other.pop("figures")
    tested_on = other.pop("tested_on", "stand-in")
    run = Run("mosi" if "mae" in figures else "food101", name, method, row, seed, **other)
    record = {
        **run.identity(),
        **surroundings(),
        "state": "finished",
        "seconds": {"train": 20.0 if method == "cggm" else 10.0, "evaluate": 1.0},
        "seconds_known": True,
        "tested_on": tested_on,
        "samples": 100,
        "figures": {row: figures},
    }
    write_record(run.folder(output), record)


# --- statistics


def test_differences_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(1, 1, 8), generator.normal(0, 1, 8)
    found = difference(pd.Series(ours), pd.Series({**dict(enumerate(theirs)), 99: 5.0}))
    test = stats.ttest_rel(ours, theirs)
    assert found is not None and found.pairs == 8
    assert found.p == pytest.approx(test.pvalue)
    assert found.mean == pytest.approx((ours - theirs).mean())
    half = stats.t.ppf(0.975, 7) * stats.sem(ours - theirs)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_seeds_are_paired_in_any_order() -> None:
    ours, theirs = pd.Series({0: 1.0, 1: 2.0, 2: 4.0}), pd.Series({2: 3.0, 0: 1.0, 1: 1.5})
    assert difference(ours, theirs) == difference(ours, theirs.sort_index())


def test_nothing_is_said_that_seeds_do_not_say() -> None:
    two = difference(pd.Series([1.0, 3.0]), pd.Series([0.0, 1.0]))
    assert two is not None and two.mean == 1.5
    same = difference(pd.Series([0.3, 0.4, 0.5]), pd.Series([0.2, 0.3, 0.4]))
    assert same is not None
    for unknown in (two, same):
        assert all(math.isnan(value) for value in (unknown.low, unknown.high, unknown.p))
    assert difference(pd.Series({0: 1.0}), pd.Series({1: 1.0})) is None


def test_groups_are_summarized_where_they_have_values() -> None:
    values = [1.0, 4.0, 2.0, math.nan, math.nan]
    rows = pd.Index(["b", "b", "a", "a", "none"], name="row")
    table = summarize(pd.Series(values, rows))
    assert list(table.index) == ["b", "a"], "in their order"
    assert table.loc["b"].tolist() == pytest.approx([2.5, np.std([1, 4], ddof=1), 2])
    assert table["seeds"].tolist() == [2, 1] and math.isnan(table["sd"]["a"])


def test_holm_rejects_what_stepping_down_rejects() -> None:
    """By its definition: at every level, reject while p(k) <= level / (m - k)."""
    ps = [0.011, 0.2, 0.013, 0.04, 0.0004]
    corrected = holm(ps)
    for level in np.linspace(0.0015, 0.999, 200):
        rejected = set()
        for rank, i in enumerate(np.argsort(ps)):
            if ps[i] > level / (len(ps) - rank):
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(corrected <= level)) == rejected
    np.testing.assert_array_equal(holm([math.nan, 0.5]), [math.nan, 0.5])
    assert len(holm([])) == 0


# --- tables


def test_a_table_has_means_differences_marks_and_costs(tmp_path: Path) -> None:
    joint, cggm = [80.0, 81.0, 83.0], [82.0, 84.0, 84.5]
    for seed in range(3):
        finished(tmp_path, "d", "joint", seed, "joint", figures={"accuracy": joint[seed]})
        finished(tmp_path, "d", "cggm", seed, "cggm", figures={"accuracy": cggm[seed]})
        finished(tmp_path, "d", "agm & co", seed, "agm", figures={"accuracy": 70.0 + seed})
        alone = {"alone": ("text",), "figures": {"accuracy": 60.0}}
        finished(tmp_path, "d", "text only", seed, "unimodal", **alone)
    command = typer.Typer()
    command.command()(main)
    printed = CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False).stdout
    names = [Path(line).name for line in printed.splitlines()]
    assert names == ["d.md", "d.tex", "d.csv", "index.html"]
    text = (tmp_path / "tables/d.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "text only",
        "joint",
        "agm & co",
        "cggm",
    ]
    assert "**83.50 ± 1.32**" in text and "<u>81.33 ± 1.53</u>" in text
    test = stats.ttest_rel(cggm, joint)
    corrected = min(1.0, test.pvalue * 1)  # the larger of the two p-values
    low, high = test.confidence_interval()
    assert f"+2.17 [{low:+.2f}, {high:+.2f}], p = {corrected:.3f}" in text
    assert "| 2.00 × |" in lines[-1] and "| 1.00 × |" in lines[3] and "| – |" in lines[2]
    assert "best validation, by the same rule" in text and "paper" not in lines[0]
    assert r"agm \& co" in (tmp_path / "tables/d.tex").read_text()
    page = (tmp_path / "tables/index.html").read_text()
    assert "agm &amp; co" in page and "class='best'>83.50" in page and "http" not in page
    with open(tmp_path / "tables/d.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert float(rows["cggm"]["p"]) == pytest.approx(test.pvalue)
    assert float(rows["cggm"]["relative_training_time"]) == 2
    assert rows["joint"]["difference_to_joint"] == ""


def test_smaller_errors_are_better_and_extensions_are_marked(tmp_path: Path) -> None:
    for row, mae in (("joint", 0.9), ("qualm", 0.8)):
        figures = {"mae": mae, "corr": 0.7}
        finished(tmp_path, "d", row, 0, "joint" if row == "joint" else "ume", figures=figures)
    write_tables(tmp_path, tmp_path)
    text = (tmp_path / "d.md").read_text()
    assert "qualm † | 1 | **0.800**" in text and "<u>0.900</u>" in text
    assert "0.700" in text and "**0.700**" not in text  # equal figures are not ranked
    assert "One seed: nothing is known of the spread." in text


def test_the_papers_figures_stand_beside_its_own_data_only(tmp_path: Path) -> None:
    figures = {"mae": 1.0, "corr": 0.6, "acc7": 30.0}
    papers = {"figures": figures, "settings": papers_recipe("mosi")}
    finished(tmp_path, "a", "joint", 0, "joint", tested_on="CMU-MOSI", **papers)
    finished(tmp_path, "b", "joint", 0, "joint", **papers)
    write_tables(tmp_path, tmp_path)
    assert "MAE, paper" in (tmp_path / "a.md").read_text()
    assert "0.952" in (tmp_path / "a.md").read_text()
    assert "MAE, paper" not in (tmp_path / "b.md").read_text()


def test_the_papers_figure_is_of_the_papers_training(tmp_path: Path) -> None:
    """Not of fewer modalities, not of a variant, not of other settings, not of a rule of ours."""
    recipe = papers_recipe("mosi")
    of_cggm = ("rho", "lam", "rule", "apply", "direction", "score")
    own = {name: recipe.pop(name) for name in of_cggm}
    data = {"figures": {"mae": 1.0}, "tested_on": "CMU-MOSI"}
    papers = {**data, "settings": {**recipe, "num_workers": 2}}
    finished(tmp_path, "a", "cggm", 0, "cggm", own=own, **papers)
    finished(tmp_path, "a", "bounded", 0, "cggm", own={**own, "rule": "bounded"}, **papers)
    finished(tmp_path, "a", "Ume", 0, "ume", **papers)
    finished(tmp_path, "a", "progress_rates", 0, "progress_rates", **papers)
    finished(tmp_path, "b", "cggm", 0, "cggm", own=own, modalities=("text", "audio"), **papers)
    finished(tmp_path, "c", "cggm", 0, "cggm", **papers)
    finished(tmp_path, "d", "cggm", 0, "cggm", own=own, settings={**recipe, "epochs": 5}, **data)
    finished(tmp_path, "d", "joint", 0, "joint", settings={**recipe, "lr": 0.1}, **data)
    a, *others = (measure(data, "mae")["published"] for data in collect(tmp_path))
    assert a.dropna().to_dict() == {"cggm": 0.915, "Ume": 0.969}
    assert set(a.index) == {"cggm", "bounded", "Ume", "progress_rates"}
    assert [len(each) for each in others] == [1, 1, 2]
    assert all(each.isna().all() for each in others)


def test_undefined_figures_are_left_out_and_said(tmp_path: Path) -> None:
    """A network that predicts one value for all has no correlation."""
    for seed, corr in enumerate((0.5, None, 0.7)):
        finished(tmp_path, "d", "joint", seed, "joint", figures={"mae": 1.0, "corr": corr})
    write_tables(tmp_path, tmp_path)
    text = (tmp_path / "d.md").read_text()
    assert "0.600 ± 0.141 (2 of 3)" in text and "in the other runs this figure is undefined" in text
    assert "Difference to joint" not in text, "nothing is compared"


def test_a_difference_that_reads_zero_has_no_minus(tmp_path: Path) -> None:
    for label, mae in (("joint", 1.0), ("cggm", 0.9999)):
        finished(tmp_path, "d", label, 0, label, figures={"mae": mae})
    write_tables(tmp_path, tmp_path)
    assert "+0.000" in (tmp_path / "d.md").read_text()


def test_latex_of_any_label() -> None:
    words = [r"a_b & 50 % #1 $x$ {y} \z ~ ^", "[x] * |", "ρ = 1 ± λ × 2 – 3 < 4 > 5 †"]
    table = Table("t", [], ["method"], [[Cell(word)] for word in words])
    text = latex(table)
    assert text.isascii()
    assert r"a\_b \& 50 \% \#1 \$x\$ \{y\} \textbackslash{}z \textasciitilde{}" in text
    assert not any(line.startswith(("[", "*")) for line in text.splitlines()), (
        "the row before would take it for an option"
    )


def test_markdown_of_any_label() -> None:
    cells = [Cell("a | b", "best"), Cell("<")]
    text = markdown(Table("a | b", ["One.", "Two."], ["x", "y"], [cells]))
    assert text == "# a | b\n\n| x | y |\n|---|---:|\n| **a \\| b** | < |\n\nOne.\nTwo.\n"


def test_names_that_are_and_are_not_the_papers() -> None:
    for name in ("UPMC-Food 101", "CMU-MOSI", "IEMOCAP, fold 1", "/d/BraTS2021_Training_Data"):
        assert comparison_of(name) is not None
    for name in (
        "generated features (no real samples): mosi",
        "CMU-MOSEI",
        "IFCT 2017 foods",
        "embedded synthetic gliomas (no patients)",
        "/d/BraTS2020_TrainingData",
    ):
        assert comparison_of(name) is None


def test_records_without_what_tables_need_are_named(tmp_path: Path) -> None:
    finished(tmp_path, "d", "joint", 0, "joint", figures={"accuracy": 1.0})
    path = tmp_path / "d" / "joint" / "seed-0" / "run.json"
    content = json.loads(path.read_text())
    for name in ("seconds", "data_label", "single"):
        path.write_text(json.dumps({k: v for k, v in content.items() if k != name}))
        with pytest.raises(InputError, match=rf"run\.json has no '{name}'.*remove its folder"):
            collect(tmp_path)
    path.write_text(json.dumps({**content, "figures": {"joint": {"accuracy": float("nan")}}}))
    (data,) = collect(tmp_path)
    assert data.joint is not None and figures_of(data) == []
    assert data.joint.values("accuracy").empty and data.joint.seeds == {0}


def test_a_data_set_without_a_finished_run_is_named(tmp_path: Path) -> None:
    finished(tmp_path, "d", "joint", 0, "joint", figures={"accuracy": 1.0})
    failed = Run("food101", "e", "joint", "joint", 0)
    record = {**failed.identity(), "state": "failed", "failure": "out of <memory>"}
    write_record(failed.folder(tmp_path), record)
    names = {path.name for path in write_tables(tmp_path, tmp_path / "tables")}
    assert names == {"d.md", "d.tex", "d.csv", "index.html"}
    page = (tmp_path / "tables" / "index.html").read_text()
    assert "No run is finished: joint, seed 0: failed (out of &lt;memory&gt;)." in page


def test_runs_on_other_data_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no finished run"):
        collect(tmp_path)
    finished(tmp_path, "d", "joint", 0, "joint", figures={"accuracy": 1.0})
    finished(tmp_path, "d", "cggm", 0, "cggm", figures={"accuracy": 1.0}, tested_on="others")
    with pytest.raises(InputError, match=r"'d' were tested on others .*food101\) and stand-in"):
        collect(tmp_path)
