"""Two trainings never write into one folder; a killed one leaves it free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.commands.lock import LOCK, keep_others_out
from cggm.pipelines.commands.start import start

from ..children import in_a_child

REFUSED = r"another training writes into .*out: wait until it has ended, or pass another --output"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def training(folder: Path, meanwhile: Callable[[], object] = lambda: None) -> int:
    """A process that holds the folder until it is killed."""

    def hold() -> None:
        keep_others_out(folder)
        meanwhile()
        (folder / "started").touch()
        time.sleep(600)

    child = in_a_child(hold)
    while not (folder / "started").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended"
        time.sleep(0.01)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_second_training_is_refused_until_the_first_is_killed(out: Path) -> None:
    first = training(out)
    try:
        with pytest.raises(InputError, match=REFUSED):
            keep_others_out(out)
        (out.parent / "teachers").mkdir()
        keep_others_out(out.parent / "teachers")
    finally:
        kill(first)
    keep_others_out(out)


def test_what_a_killed_training_started_does_not_hold_the_folder(out: Path) -> None:
    """Such as the workers of a data loader, or a program."""

    def start_others() -> None:
        worker = in_a_child(lambda: time.sleep(600))
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (out / "others").write_text(f"{worker} {program.pid}")

    kill(training(out, start_others))
    try:
        keep_others_out(out)
    finally:
        for number in (out / "others").read_text().split():
            os.kill(int(number), signal.SIGKILL)


def test_one_process_may_train_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out.parent)
    keep_others_out(out)
    keep_others_out("out")
    assert [path.name for path in out.iterdir()] == [LOCK]


def test_a_folder_that_cannot_be_locked_is_refused(out: Path) -> None:
    (out / LOCK).mkdir()
    with pytest.raises(
        InputError, match=r"the output folder .*out cannot be written \(.*\): pass another one with"
    ):
        keep_others_out(out)


def test_only_trainings_take_the_folder(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    first = training(out)
    try:
        start(output_dir=str(out))
        with pytest.raises(InputError, match=REFUSED):
            start(output_dir=str(out), method="joint")
    finally:
        kill(first)
