"""Extractions that are killed, and two at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cggm.pipelines.extraction.parts import alone

from .conftest import start, text_table
from .test_run import others


@pytest.mark.slow
def test_killed_run_goes_on(bert: Path, tmp_path: Path) -> None:
    table = text_table(tmp_path / "samples.csv", 1500)
    words = ["text", "--table", table, "--model", bert, "--batch_size", 4, "--chunk", 8]
    clean = start(*words, "--output", tmp_path / "clean.npy")
    killed = start(*words, "--output", tmp_path / "text.npy")
    wait_for(lambda: (tmp_path / "text.npy.parts" / "part-000020.npz").exists())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "text.npy").exists()
    again = start(*words, "--output", tmp_path / "text.npy")
    for process in (clean, again):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "1,500 samples, width 32" in out
        assert err == ""
    for ending in (".npy", ".npy.json"):
        files = (tmp_path / f"text{ending}", tmp_path / f"clean{ending}")
        assert files[0].read_bytes() == files[1].read_bytes()
    assert others(tmp_path) == [
        "clean.npy",
        "clean.npy.json",
        "samples.csv",
        "text.npy",
        "text.npy.json",
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
def test_two_processes_and_a_model_that_is_nowhere(bert: Path, tmp_path: Path) -> None:
    table = text_table(tmp_path / "samples.csv", 5)
    output = tmp_path / "text.npy"
    with alone(output):
        second = start("text", "--table", table, "--model", bert, "--output", output)
        nowhere = start("text", "--table", table, "--output", tmp_path / "other.npy")
        _, refused = second.communicate(timeout=120)
        _, missing = nowhere.communicate(timeout=120)
    assert (second.returncode, nowhere.returncode) == (1, 1)
    assert refused == (
        f"error: another process is extracting to {output}; wait for it, or choose another output\n"
    )
    assert missing == (
        "error: the model bert-base-uncased is not on this machine (tried as a folder, and the "
        "cache of downloads) and the Hugging Face hub cannot be reached: run 'hf download "
        "bert-base-uncased --local-dir bert-base-uncased' on a connected machine, copy the folder "
        "here and pass it as --model\n"
    )
    assert others(tmp_path) == ["samples.csv"]
