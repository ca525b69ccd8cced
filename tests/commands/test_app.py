"""The `cggm` command as a user starts it: light, lazy, and plain about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.core import TyperCommand
from typer.main import get_command

from cggm.data.errors import InputError
from cggm.pipelines.commands.app import SUB_COMMANDS
from cggm.pipelines.commands.bundle import BUNDLES, config_files, run_bundle
from cggm.pipelines.commands.convert import app as convert_app

from ..processes import commands

HEAVY = ("torch", "monai", "numpy", "ignite", "matplotlib", "nibabel")
# Every help page in turn, until one has loaded what only the work needs.
ALL_PAGES = """
import sys
from importlib import import_module

from typer.main import get_command

from cggm.pipelines.commands.app import SUB_COMMANDS, main

def show(*words):
    sys.argv = ["cggm", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
    loaded = {"torch", "monai", "ignite", "transformers", "sklearn", "ray"} & {*sys.modules}
    assert not loaded, (words, loaded)

for name, entry in SUB_COMMANDS.items():
    show(name)
    opened = getattr(import_module(f"cggm.pipelines.{entry.module}"), "app", None)
    for further in getattr(get_command(opened), "commands", ()) if opened else ():
        show(name, further)
"""


@pytest.mark.parametrize("words", [["--help"], ["info"], ["train", "--help"]])
def test_help_and_info_load_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['cggm', *{words}]\n"
        "from cggm.pipelines.commands.app import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == "[]\n"
    if words == ["--help"]:
        assert all(f"  {name} " in result.stdout for name in SUB_COMMANDS)


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pydicom", "highdicom", "ray")),
    reason="an extra is not installed",
)
def test_no_help_page_loads_torch(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-c", ALL_PAGES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert all(f"Usage: cggm {name} " in result.stdout for name in SUB_COMMANDS)
    assert "Usage: cggm study run " in result.stdout and "cggm extract text " in result.stdout


def test_mistakes_are_sentences_with_exit_codes(tmp_path: Path) -> None:
    results = commands(
        [
            ["cggm", "chek"],
            ["cggm", "check"],
            ["cggm", "check", "nothing"],
            ["cggm", "train", "brat"],
            ["cggm", "train", "brats", "--epoch", "1"],
            ["cggm", "train", "brats", "--overlay", "papers.json"],
            ["cggm", "train", "--epochs", "1", "brats"],
            ["cggm", "train", "brats", "--method", "help"],
            ["cggm", "train", "brats", "--help"],
            ["cggm", "--version"],
        ],
        tmp_path,
    )
    unknown, missing, nothing, brat, epoch, overlay, order, methods, settings, number = results
    assert [code for code, _, _ in results] == [2, 2, 1, 1, 1, 1, 2, 0, 0, 0]
    assert number[1] == f"cggm {version('cggm')}\n"
    assert not any("Traceback" in errors for _, _, errors in results)
    assert "Did you mean 'check'?" in unknown[2]
    assert "Missing argument" in missing[2]
    assert nothing[2] == "error: there is no file or folder nothing; is the path right?\n"
    assert brat[2].startswith("error: no bundle is called 'brat' (did you mean 'brats'?), and no")
    assert "error: no setting is called 'epoch' (did you mean 'epochs'?)" in epoch[2]
    assert "error: there is no overlay papers.json" in overlay[2] and "paper.json" in overlay[2]
    assert "BUNDLE comes first" in order[2]
    assert "--method is one of" in methods[1] and "cggm" in methods[1]
    assert "--epochs 40" in settings[1] and "--dataset_dir null" in settings[1]


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_a_bundle_is_found_by_name_folder_and_file(bundle: str, config: str) -> None:
    (by_name,) = config_files(bundle, config)
    assert by_name.name == f"{config}.json"
    assert config_files(str(by_name.parent), config) == [by_name]
    assert config_files(str(by_name), config) == [by_name]


def test_an_overlay_lies_beside_the_configuration_or_where_the_user_says(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"epochs": 1}))
    train, paper, last = config_files("brats", "train", ["paper.json", str(mine)])
    assert paper == train.with_name("paper.json") and last == mine


def test_a_second_configuration_is_refused() -> None:
    files = config_files("brats", "train")
    for words in (["--config_file", "x.json"], ["--config-file=x.json"]):
        with pytest.raises(InputError, match="leave --config_file out, and lay JSON over it"):
            run_bundle(files, words)


def test_a_broken_configuration_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"epochs": 1,}')
    with pytest.raises(InputError, match=r"mine.json'\] cannot be read .* in JSON or YAML"):
        run_bundle(config_files("brats", "train", [str(tmp_path / "mine.json")]), [])


def test_a_list_takes_several_words() -> None:
    iemocap = get_command(convert_app).commands["iemocap"]
    assert isinstance(iemocap, TyperCommand)
    words = ["in", "out", "--classes", "sad", "happy", "--classes", "angry", "--fold", "2"]
    parameters = iemocap.make_context("iemocap", words).params
    assert list(parameters["classes"]) == ["sad", "happy", "angry"] and parameters["fold"] == "2"
