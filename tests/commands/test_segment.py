"""`cggm segment` as a user meets it: exit codes, what is said, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import typer

from cggm.data.errors import InputError
from cggm.pipelines.commands import segment as command

from ..children import in_a_child
from ..data.brains import write_case
from ..segmentation.batch.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "trained", ("flair", "t1ce"))


def test_a_failure_is_exit_code_1_and_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write_case(tmp_path / "in", f"P{number}", number)
    (tmp_path / "in" / "P0" / "P0_flair.nii.gz").write_bytes(b"")
    with pytest.raises(typer.Exit) as end:
        command.main(tmp_path / "in", tmp_path / "out", [model])
    assert end.value.exit_code == 1
    said = capsys.readouterr().out
    assert "1/2 P0: FAILED (read): case P0: " in said and "2/2 P1: WT " in said
    assert f"of 2 cases 1 segmented, 1 failed, see {tmp_path / 'out' / 'failed.csv'}" in said
    write_case(tmp_path / "in", "P0")
    command.main(tmp_path / "in", tmp_path / "out", [model])
    said = capsys.readouterr().out
    assert "2/2 P1: finished before" in said and "of 2 cases 1 segmented, 1 finished before" in said


def test_what_cannot_be_begun_is_one_sentence(model: Path, tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    with pytest.raises(InputError, match="no label convention is called 'brats'"):
        command.main(tmp_path / "in", tmp_path / "out", [model], label_convention="brats")
    with pytest.raises(InputError, match="nothing does not exist"):
        command.main(tmp_path / "nothing", tmp_path / "out", [model])
    for source in ("in", "nothing"):  # the model is looked at before a search that may be long
        with pytest.raises(InputError, match="there is no model in"):
            command.main(tmp_path / source, tmp_path / "out", [tmp_path])
    with pytest.raises(InputError, match="the device 'gpu' cannot .*; expected cpu, or cuda"):
        command.main(tmp_path / "nothing", tmp_path / "out", [model], device="gpu")
    assert not (tmp_path / "out").exists()


def test_where_there_is_no_case_the_sentence_says_so(model: Path, tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    (tmp_path / "cases.csv").write_text("case,flair\n")
    for source, layout, words in (
        ("in", "folders", r"no case was recognized in .*in; expected a folder for each patient"),
        ("in", "foo", r"no layout is called 'foo'; known are \['auto', 'folders', 'ucsf_pdgm'"),
        ("cases.csv", "auto", "has no row below its header"),
    ):
        with pytest.raises(InputError, match=words):
            command.main(tmp_path / source, tmp_path / "out", [model], layout=layout)


def test_an_output_folder_that_is_a_file_is_refused(model: Path, tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out is a file; choose another one"):
        command.main(tmp_path / "in", tmp_path / "out", [model])


def test_ctrl_c_leaves_nothing_half_written_and_says_how_to_go_on(
    model: Path, tmp_path: Path
) -> None:
    for number in range(4):
        write_case(tmp_path / "in", f"P{number}", number)
    out, words = tmp_path / "out", ["segment", "my patients", "out", "--model", "trained"]

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["cggm", *words]
        with open(tmp_path / "said", "w", buffering=1) as said, contextlib.redirect_stderr(said):
            command.main(tmp_path / "in", out, [model])

    child = in_a_child(work)
    deadline = time.monotonic() + 60
    while not list(out.glob("P*/P*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child, signal.SIGINT)
    os.waitpid(child, 0)
    assert (
        "to go on: cggm segment 'my patients' out --model trained"
        in (tmp_path / "said").read_text()
    )
    finished = sorted(path.parent.name for path in out.glob("P*/P*.json"))
    assert finished and len(finished) < 4
    assert sorted(path.name for path in out.glob("P*")) == finished
    assert not list(out.glob(".*.tmp")) and not list(out.glob(".locks/*.begun"))
    command.main(tmp_path / "in", out, [model])
    assert len(list(out.glob("P*/P*.json"))) == 4
