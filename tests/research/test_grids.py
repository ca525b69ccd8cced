"""Grids as they are meant, and a sentence for each mistake in one."""

import json
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.methods import CATALOGUE
from cggm.pipelines.research.experiments.command import app
from cggm.pipelines.research.experiments.grid import plan
from cggm.pipelines.research.experiments.look_ahead import look_ahead
from cggm.pipelines.research.experiments.options import GridOptions


def run_command(*words: str) -> int:
    return app(list(words), standalone_mode=False) or 0


def test_a_grid_has_every_method_with_every_seed() -> None:
    grid = {
        "bundle": ["food101", {"name": "food101", "as": "mine", "settings": {"dataset_dir": "x"}}],
        "methods": ["joint", {"name": "cggm", "as": "printed rule", "settings": {"rule": "paper"}}],
        "seeds": 2,
        "settings": {"epochs": 5},
        "unimodal": True,
    }
    runs = plan(grid).runs
    assert [run.name for run in runs[:3]] == [
        "food101, joint, seed 0",
        "food101, printed rule, seed 0",
        "food101, unimodal, seed 0",
    ]
    assert len(runs) == 2 * 2 * 3
    assert runs[2].alone == ("image", "text")
    assert runs[1].folder(Path("out")) == Path("out/food101/printed_rule/seed-0")
    assert runs[-1].settings == {"epochs": 5, "dataset_dir": "x"}


def test_single_sequences_are_trainings_of_their_own() -> None:
    runs = plan({"bundle": "brats", "methods": ["joint"], "unimodal": True}).runs
    assert [run.label for run in runs] == [
        "joint",
        "flair only",
        "t1 only",
        "t1ce only",
        "t2 only",
    ]
    assert runs[1].modalities == ("flair",) and runs[1].single


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "joint"}, r"a grid has no entry 'method' \(did you mean 'methods'\?\);"),
        ({"bundle": "food"}, r"no bundle is called 'food'; there are \['brats', 'food101'"),
        ({"methods": []}, r"the grid says no 'methods'"),
        ({"methods": ["cgm"]}, r"food101, cgm: no method is called 'cgm' \(did you mean 'cggm'"),
        (
            {"methods": ["cggm"], "modalities": ["text"]},
            r"food101 cannot be trained by cggm: it is not for 1 modalities",
        ),
        ({"methods": ["joint", "joint"]}, r"two runs for the folder food101/joint/seed-0"),
        ({"methods": [{"name": "cggm", "setting": {}}]}, r"'cggm' has the entry 'setting'"),
        ({"seeds": [1, 1]}, r"'seeds' is \[1, 1\] in the grid; expected different whole numbers"),
        ({"settings": {"epoch": 1}}, r"no setting is called 'epoch' \(did you mean 'epochs'"),
        ({"settings": {"rho": 1.0}}, r"food101, joint: 'rho' is a setting of cggm"),
        ({"settings": {"seed": 1}}, r"the grid sets 'seed', which experiments set themselves"),
        ({"settings": {"modalities": ["text"]}}, r"name them in the grid's entry 'modalities'"),
        ({"modalities": ["txt"]}, r"food101 has no modality 'txt'; it has image, text"),
        ({"vary": {"rho": [0.5, 1.0]}}, r"varies 'rho', a setting of cggm, which is not among"),
        ({"vary": {"lr": [0.1]}}, r"the grid varies 'lr' over \[0\.1\]; expected a list of two or"),
        ({"vary": {"lr": [0.1, "0.1"]}}, r"expected a list of two or more different values"),
        ({"vary": {"lrr": [0.1, 0.2]}}, r"no setting is called 'lrr' \(did you mean 'lr'"),
        ({"vary": {"modalities": [["text"], ["image"]]}}, r"grid's entry 'modalities'"),
        ({"methods": [{"name": "all", "as": "x"}]}, r"'all' takes no name, settings or sweep"),
        ({"methods": [{"name": "unimodal", "settings": {"lr": 1.0}}]}, r"'unimodal' takes no name"),
        ({"unimodal": "yes"}, r"'unimodal' is 'yes' in the grid; it is true or false"),
    ],
)
def test_a_mistake_in_the_grid_is_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan({"bundle": "food101", "methods": ["joint"], **change})


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text("{'bundle'")
    with pytest.raises(InputError, match=r"grid\.json is not JSON .*; a grid is"):
        run_command(str(tmp_path / "grid.json"))
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        run_command("nowhere.json")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rho=-5", r"food101, cggm: rho is -5; it is a number above 0"),
        ("rule=papre", r"food101, cggm: rule is 'papre'; it is one of \['bounded'"),
        ("methods#cggm#lam=-1", r"food101, cggm: lam is -1; it is a number, 0 or larger"),
        ("methods#cggm#roh=1", r"food101, cggm: cggm has no setting 'roh'; it has \['rho'"),
        ("score=mae", r"food101, cggm: there is no score 'mae' for classification; choose one of"),
        ("select=acuracy", r"food101, cggm: there is no metric 'acuracy' for classification"),
        ("dataset_dir=no/foods", r"'dataset_dir' is 'no/foods', and there is no such folder"),
        ("split_file=no.json", r"food101, cggm: 'split_file' is 'no\.json', and there is no such"),
        ("device=gpu", r"food101, cggm: the device 'gpu' cannot be used"),
    ],
)
def test_what_would_fail_at_once_is_refused_before_anything_trains(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--bundle", "food101", "--methods", "cggm", "--output", str(tmp_path)]
    with pytest.raises(InputError, match=message):
        run_command(*words, "--settings", setting)
    assert not list(tmp_path.glob("food101*")) and not capsys.readouterr().out


def test_looking_ahead_lets_all_bundles_and_methods_pass_and_reads_no_data(tmp_path: Path) -> None:
    bundles = ["brats", "food101", "iemocap", "mosi"]
    settings = {"cache_dir": str(tmp_path)}  # where data would be generated
    look_ahead(plan({"bundle": bundles, "methods": "all", "settings": settings}).runs)
    assert not list(tmp_path.iterdir())


def test_settings_of_a_method_make_rows_and_settings_of_all_make_tables() -> None:
    grid = {"bundle": "food101", "methods": ["joint", "cggm", {"name": "agm", "as": "AGM"}]}
    grid["vary"] = {"lr": [0.01, 0.1], "rho": [0.5, 1.3], "methods#agm#alpha": [1.0, 2.0]}
    runs = plan(grid).runs
    assert {run.data for run in runs} == {"food101 lr=0.01", "food101 lr=0.1"}
    rows = ["joint", "cggm rho=0.5", "cggm rho=1.3", "AGM alpha=1.0", "AGM alpha=2.0"]
    assert [run.label for run in runs] == rows * 2
    assert runs[0].settings == {"lr": 0.01} and runs[0].own == {}
    assert runs[1].own == {"rho": 0.5} and runs[-1].own == {"methods#agm#alpha": 2.0}
    assert runs[1].folder(Path()) == Path("food101_lr=0.01/cggm_rho=0.5/seed-0")


def test_a_method_can_be_varied_alone() -> None:
    method = {"name": "cggm", "vary": {"lr": [0.01, 0.1], "rho": [1, 2]}}
    runs = plan({"bundle": "food101", "methods": ["joint", method]}).runs
    assert [run.label for run in runs][:3] == ["joint", "cggm lr=0.01 rho=1", "cggm lr=0.01 rho=2"]
    assert len(runs) == 5 and {run.data for run in runs} == {"food101"}


def test_all_are_the_methods_that_the_bundle_can_train() -> None:
    own = {"name": "cggm", "as": "printed rule", "settings": {"rule": "paper"}}
    runs, left_out = plan({"bundle": ["food101", "mosi"], "methods": ["all", own]})
    names = {b: [r.label for r in runs if r.bundle == b] for b in ("food101", "mosi")}
    assert set(names["food101"]) == set(CATALOGUE) - {"unimodal"} | {"printed rule"}
    assert names["mosi"][0] == "joint" and not {"passion", "qmf"} & set(names["mosi"])
    assert left_out == [
        f"mosi: {n} is left out, it is not for regression" for n in ("passion", "qmf")
    ]
    one = {"bundle": "food101", "methods": "all", "modalities": ["text"]}
    assert "cggm" not in [run.label for run in plan(one).runs]


def test_options_replace_entries_of_the_file(tmp_path: Path) -> None:
    grid = {"bundle": "mosi", "methods": ["joint"], "settings": {"epochs": 5, "lr": 0.1}}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    options = GridOptions(
        file=str(tmp_path / "grid.json"),
        methods="joint,cggm",
        seeds="0,4",
        epochs=2,
        vary=["rho=0.5,1.3"],
        settings=["select=mae"],
    )
    assert options.grid() == {
        "bundle": "mosi",
        "methods": ["joint", "cggm"],
        "seeds": [0, 4],
        "settings": {"epochs": 2, "lr": 0.1, "select": "mae"},
        "vary": {"rho": [0.5, 1.3]},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], r"--jobs is 0; expected a number above 0"),
        (["--memory_gb", "-1"], r"--memory_gb is -1; expected a number above 0"),
        (["--run_gpus", "-1"], r"--run_gpus is -1; expected 0 or more"),
        (["--ray", "auto", "--memory_gb", "4"], r"with --ray, --run_memory_gb is what each"),
        (["--settings", "epochs"], r"--settings has 'epochs'; expected NAME=VALUE"),
    ],
)
def test_a_mistake_in_the_options_is_one_sentence(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_command("--bundle", "food101", "--methods", "joint", *words)


def test_settings_and_sweeps_take_several_words(tmp_path: Path) -> None:
    words = ["--settings", "epoch=5", "lr=0.1", "--bundle", "food101", "--methods", "joint"]
    with pytest.raises(InputError, match=r"no setting is called 'epoch' \(did you mean 'epochs'"):
        run_command(*words, "--output", str(tmp_path))
    with pytest.raises(InputError, match=r"the grid varies 'width' over \[8\]"):
        run_command(*words[3:], "--vary", "lr=0.1,0.2", "width=8", "--output", str(tmp_path))
