"""One command that plans, runs and shows the paper's tables and figures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from cggm.data.errors import InputError
from cggm.data.files import write_json
from cggm.pipelines.research.experiments.record import surroundings, write_record
from cggm.pipelines.research.experiments.run import Run
from cggm.pipelines.research.paper.budgets import BUNDLES, budget
from cggm.pipelines.research.paper.command import main
from cggm.pipelines.research.paper.finished import read_finished
from cggm.pipelines.research.paper.needs import BOUNDED, NEEDS, check_items, runs_for
from cggm.pipelines.research.paper.pieces import pieces
from cggm.pipelines.research.report.ablation_table import SETTINGS
from cggm.pipelines.research.report.pieces import FigurePiece, MissingPiece, TablePiece

app = typer.Typer()
app.command()(main)


def run_command(*words: str) -> int:
    return app(list(words), standalone_mode=False) or 0


def finish(run: Run, output: Path, figures: dict[str, float], tested_on: str = "stand-in") -> None:
    """What a finished run leaves, without running it."""
    rows = {f"{name} only": figures for name in run.alone} if run.alone else {run.label: figures}
    record = {
        **run.identity(),
        **surroundings(),
        **{"state": "finished", "seconds": {"train": 9.0, "evaluate": 1.0}, "seconds_known": True},
        **{"tested_on": tested_on, "samples": 100, "figures": rows},
    }
    write_record(run.folder(output), record)


# --- the plan


def test_a_plan_has_the_papers_methods_with_three_seeds() -> None:
    runs = runs_for(list(NEEDS), budget("small", {}))
    assert len({run.name for run in runs}) == len(runs)
    table3 = [run for run in runs if run.data == "brats" and run.seed == 0]
    assert [run.label for run in table3] == [
        *("joint", "mrd", "mslr", "umt", "ume", "qmf", "reconboost", "cggm"),
        *("cggm, bounded rule", "flair only", "t1 only", "t1ce only", "t2 only"),
    ]
    papers, ours = (next(r for r in table3 if r.label.startswith(n)) for n in ("cggm", BOUNDED))
    assert (papers.own["rule"], papers.own["score"]) == ("paper", "dice")
    assert ours.own == {**papers.own, "rule": "bounded"}
    assert {run.seed for run in runs} == {0, 1, 2}
    ablation = {r.label: r.own for r in runs if r.data == "iemocap ablation"}
    changed = {k: {n: own[n] for n in SETTINGS[k]} for k, own in ablation.items()}
    assert changed == SETTINGS
    assert ablation["magnitude"]["rule"] == "paper"  # the rest as in the paper
    sweep = [r.own for r in runs if r.data == "iemocap scaling" and r.seed == 1]
    assert [own["rho"] for own in sweep] == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
    recorded = {run.bundle for run in runs if run.settings.get("record_gradients")}
    assert recorded == set(BUNDLES)


def test_only_what_is_asked_for_is_run() -> None:
    small = budget("small", {})
    assert {r.label for r in runs_for(["figure2"], small)} == {"joint"}
    assert {(r.data, r.label) for r in runs_for(["figure7", "figure6"], small)} == {
        ("mosi", "joint"),
        ("mosi", "cggm"),
    }
    assert {r.data for r in runs_for(["table6"], small)} == {"iemocap", "iemocap ablation"}
    assert runs_for(["table7", "table8"], small) == []
    assert {r.label for r in runs_for(["table5"], small)} == {"unimodal", "joint", "cggm"}


def test_the_papers_recipes_are_for_given_data_only() -> None:
    runs = runs_for(list(NEEDS), budget("paper", {"brats": "/data/brats", "iemocap": "/data/ie"}))
    assert {run.bundle for run in runs} == {"brats", "iemocap"}
    assert {run.settings["dataset_dir"] for run in runs} == {"/data/brats", "/data/ie"}
    joint, cggm = (
        next(r for r in runs if r.data == "brats" and r.label == label)
        for label in ("joint", "cggm")
    )
    assert joint.settings["encoder"] == "resnet101" and joint.settings["epochs"] == 150
    assert joint.settings["val_interval"] == 10
    assert cggm.own["rule"] == "paper" and not joint.own and "rho" not in joint.settings
    with pytest.raises(InputError, match="the paper's recipes are for the paper's data: pass one"):
        budget("paper", {})
    with pytest.raises(InputError, match="no budget 'huge'; choose one of tiny, small, paper"):
        budget("huge", {})


def test_items_are_the_papers() -> None:
    assert check_items(None) == list(NEEDS)
    assert check_items("figure5, table6,table6") == ["table6", "figure5"]
    with pytest.raises(InputError, match="--only has 'table9'; expected some of table2, table3"):
        check_items("table9")


# --- the report


def test_missing_runs_are_named_and_stop_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = ["--budget", "tiny", "--output", str(output), "--report_only"]
    assert run_command(*words) == 1
    page = (output / "report" / "index.html").read_text()
    assert "food101: joint, seed 0: not started; cggm, seed 0: not started" in page
    assert "Table 7. Hyperparameters of the paper" in page

    runs = runs_for(["table2"], budget("tiny", {}))
    for run in runs[:-1]:
        finish(run, output / "runs", {"accuracy": 50.0, "f1_weighted": 40.0})
    failed = {**runs[-1].identity(), "state": "failed", "failure": "out of memory"}
    write_record(runs[-1].folder(output / "runs"), failed)
    assert run_command(*words, "--only", "table2") == 1
    text = (output / "report" / "table2.md").read_text()
    assert "Not in the table: unimodal, seed 0: failed (out of memory)" in text


def test_numbers_are_those_of_the_runs(tmp_path: Path) -> None:
    runs = runs_for(["table2", "table6", "figure5"], budget("small", {}))
    generator = np.random.default_rng(0)
    values = {run.name: generator.uniform(40, 90) for run in runs}
    for run in runs:
        figures = {"accuracy": values[run.name], "f1_weighted": 1.0, "f1_macro": 2.0}
        tested_on = "UPMC-Food 101" if run.data == "food101" else "stand-in"
        finish(run, tmp_path, figures, tested_on)
    table2, table6, figure5 = pieces(
        ["table2", "table6", "figure5"], runs, tmp_path, tmp_path / "x"
    )

    def over_seeds(data: str, label: str) -> np.ndarray:
        return np.array([values[f"{data}, {label}, seed {seed}"] for seed in range(3)])

    assert isinstance(table2, TablePiece) and isinstance(table6, TablePiece)
    umt = next(n for n in table2.numbers if (n["method"], n["figure"]) == ("umt", "accuracy"))
    assert umt["mean"] == pytest.approx(over_seeds("food101", "umt").mean())
    assert umt["sd"] == pytest.approx(over_seeds("food101", "umt").std(ddof=1))
    assert umt["published"] is None, "the small budget is not the paper's recipe"
    assert not any("paper" in word for word in table2.table.head)
    labels = [cells[0].text for cells in table2.table.rows]
    assert labels[:3] == ["image only", "text only", "joint"]
    assert labels[3:5] == ["gblending", "greedy"] and labels[-2:] == ["cggm", BOUNDED], "paper's"
    assert not any("macro" in word for word in table2.table.head)
    both = next(n for n in table6.numbers if (n["model"], n["figure"]) == ("both", "accuracy"))
    assert both["mean"] == pytest.approx(over_seeds("iemocap ablation", "both").mean())
    assert both["published"] is None and not any("paper" in word for word in table6.table.head)
    assert isinstance(figure5, FigurePiece)
    gain = over_seeds("iemocap scaling", "rho 1.2") - over_seeds("iemocap", "joint")
    line = next(n for n in figure5.numbers if (n["setting"], n["value"]) == ("rho", 1.2))
    assert line["mean"] == pytest.approx(gain.mean())
    assert line["sd"] == pytest.approx(gain.std(ddof=1))

    (runs[-1].folder(tmp_path) / "run.json").unlink()
    last = f"{runs[-1].label}, seed 2: not started."
    table6, figure5 = pieces(["table6", "figure5"], runs, tmp_path, tmp_path / "x")
    assert isinstance(figure5, FigurePiece) and isinstance(table6, TablePiece)
    assert figure5.caption[-1] == f"Not in the figure: {last}"
    assert not any(last in line for line in table6.table.caption)


def test_the_papers_figures_stand_beside_its_recipe_on_its_data(tmp_path: Path) -> None:
    runs = runs_for(["table2"], budget("paper", {"food101": "/data/food"}))
    for run in runs:
        figures = {"accuracy": 50.0, "f1_weighted": 1.0, "f1_macro": 2.0}
        finish(run, tmp_path, figures, "UPMC-Food 101")
    (table2,) = pieces(["table2"], runs, tmp_path, tmp_path / "x")
    assert isinstance(table2, TablePiece) and "Acc, paper" in table2.table.head
    published = {n["method"]: n["published"] for n in table2.numbers if n["figure"] == "accuracy"}
    assert (published["umt"], published["cggm"], published[BOUNDED]) == (91.82, 92.94, None)


def test_runs_of_another_budget_are_not_shown(tmp_path: Path) -> None:
    (run,) = runs_for(["figure7"], budget("tiny", {}))
    finish(run, tmp_path / "runs", {"mae": 1.0})
    record = json.loads((run.folder(tmp_path / "runs") / "run.json").read_text())
    write_record(run.folder(tmp_path / "runs"), {**record, "trained": True})
    words = ["--only", "figure7", "--output", str(tmp_path), "--report_only"]
    with pytest.raises(InputError, match=r"holds a run with other settings"):
        run_command("--budget", "small", *words)


def test_data_of_others_are_left_alone(tmp_path: Path) -> None:
    """Runs in the folder that the plan does not have are not shown."""
    (run,) = runs_for(["figure7"], budget("tiny", {}))
    finish(Run("mosi", "elsewhere", "cggm", "cggm", 0), tmp_path, {"mae": 1.0})
    finish(run, tmp_path, {"mae": 1.0})
    assert list(read_finished([run], tmp_path).sets) == ["mosi"]
    (piece,) = pieces(["figure7"], [run], tmp_path, tmp_path / "x")
    assert isinstance(piece, MissingPiece)
    assert piece.reason == "Missing, since the finished runs on mosi left no records of it."


def test_the_score_is_what_the_run_took(tmp_path: Path) -> None:
    """And not what the bundle has by now."""
    (run,) = runs_for(["figure7"], budget("tiny", {}))
    finish(run, tmp_path, {"mae": 1.0})
    assert read_finished([run], tmp_path).score("mosi", "cggm") is None
    content = {"method": "cggm", "score": "$'acc2' if @method == 'cggm' else 'mae'"}
    write_json(run.folder(tmp_path) / "configuration" / "train.json", content)
    assert read_finished([run], tmp_path).score("mosi", "cggm") == "acc2"
    (run.folder(tmp_path) / "configuration" / "train.json").write_text("{")
    assert read_finished([run], tmp_path).score("mosi", "cggm") is None


def test_table_6_without_its_rows_is_missing(tmp_path: Path) -> None:
    runs = runs_for(["table5", "table6"], budget("tiny", {}))
    finish(next(run for run in runs if run.alone), tmp_path, {"accuracy": 50.0})
    (piece,) = pieces(["table6"], runs, tmp_path, tmp_path / "x")
    assert isinstance(piece, MissingPiece) and "iemocap ablation: magnitude" in piece.reason


def test_rows_of_an_earlier_plan_are_left_alone(tmp_path: Path) -> None:
    """As after a run with more seeds, or of all methods."""
    runs = runs_for(["table2"], budget("tiny", {}))
    for run in [*runs, Run("food101", "food101", "umt", "umt", 0), replace(runs[0], seed=7)]:
        finish(run, tmp_path, {"accuracy": 50.0})
    (data,) = read_finished(runs, tmp_path).sets.values()
    assert {row.label for row in data.rows}.isdisjoint({"umt"})
    assert all(row.seeds == {0} for row in data.rows)


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    for words, message in ((["--jobs", "0"], "1 or more"), (["--memory_gb", "0"], "above 0")):
        with pytest.raises(InputError, match=f"{words[0]} is 0; expected .*{message}"):
            run_command(*words, "--output", str(tmp_path))


@pytest.mark.slow
def test_one_command_runs_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    words = ["--budget", "tiny", "--only", "table7,figure3,figure7", "--output", str(output)]
    assert run_command(*words) == 0
    (run,) = runs_for(["figure7"], budget("tiny", {}))
    folder = run.folder(output / "runs")
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    page = (output / "report" / "index.html").read_text()
    assert page.count("<img") == 2 and "class='missing'" not in page

    with open(folder / "modulation.csv", newline="") as file:
        steps = [row for row in csv.DictReader(file) if row["modality"] == "text"]
    with open(output / "report" / "figure3.csv", newline="") as file:
        drawn = [
            r for r in csv.DictReader(file) if (r["quantity"], r["modality"]) == ("cosine", "text")
        ]
    assert len(steps) == len(drawn) > 5
    np.testing.assert_allclose(
        [float(row["mean"]) for row in drawn], [float(row["cosine"]) for row in steps]
    )

    found = read_finished([run], output / "runs").classifiers("mosi")
    for name, by_seed in found["cggm"].items():
        path = folder / "evaluation-classifiers" / name / "evaluation.json"
        assert by_seed == {0: json.loads(path.read_text())["figures"]["mae"]["value"]}
    assert set(found["cggm"]) == {"text", "audio", "vision"} and not found["joint"]

    capsys.readouterr()
    before = (folder / "run.json").stat().st_mtime_ns
    assert run_command(*words) == 0
    assert "1 runs, 1 of them finished already" in capsys.readouterr().out
    assert (folder / "run.json").stat().st_mtime_ns == before
