"""Errors that become one line, and those that keep their traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cggm.data.errors import InputError
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.handlers.checkpoint_file import read
from cggm.pipelines.handlers.learning_rate import warmup_cosine

MISSING = (
    "error: the weights no/such.pt cannot be read: there is no such file; train first, or pass "
    "their path (command line: --ckpt_path)"
)


def caught(action: Any) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def bad_schedule(epochs: Any = 0) -> None:
    warmup_cosine(torch.optim.SGD(nn.Linear(1, 1).parameters()), epochs=epochs, epoch_length=1)


def stumble(_: int) -> None:
    bad_schedule(epochs=None)


def wrapped(action: Any) -> Any:
    def outer() -> None:
        try:
            action()
        except Exception as error:
            raise RuntimeError("Failed to instantiate component 'x' with keywords: a,b") from error

    return outer


def test_an_input_error_below_two_wrappers() -> None:
    error = caught(wrapped(wrapped(lambda: read("no/such.pt"))))
    assert explain(error) == MISSING


def test_the_outermost_input_error_is_the_one_for_the_user() -> None:
    def action() -> None:
        try:
            raise InputError("the affine is singular")
        except InputError as error:
            raise InputError("case BraTS_001: the affine is singular") from error

    assert explain(caught(wrapped(action))) == "error: case BraTS_001: the affine is singular"


def test_a_value_error_of_this_package() -> None:
    assert explain(caught(wrapped(bad_schedule))) == (
        "error: 0 epochs of 1 batches leave nothing to train"
    )


def test_what_our_code_stumbles_over_says_how_to_find_the_place() -> None:
    line = explain(caught(wrapped(lambda: stumble(0))))
    assert line is not None and line.startswith("error: ")
    assert "NoneType" in line and line.endswith(" (CGGM_TRACEBACK=1 shows where)")
    loader = DataLoader(Faulty(stumble), num_workers=1)
    assert explain(caught(lambda: list(loader))) == line


def test_errors_of_others_are_faults_of_the_program() -> None:
    assert explain(caught(wrapped(lambda: torch.ones(2) @ torch.ones(3)))) is None
    assert explain(caught(lambda: int("x"))) is None
    assert explain(caught(lambda: {}["x"])) is None


class Faulty(Dataset):
    def __init__(self, action: Any) -> None:
        self.action = action

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        self.action(index)
        return index


def missing(_: int) -> None:
    read("no/such.pt")


def unfit(_: int) -> None:
    bad_schedule()


def foreign(_: int) -> None:
    raise ValueError("not ours")


def killed(_: int) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (missing, MISSING),
        (Compose([missing]), MISSING),
        (unfit, "error: 0 epochs of 1 batches leave nothing to train"),
        (foreign, None),
        (
            killed,
            "error: a data loader worker was killed, as a rule because memory ran out; use fewer "
            "workers or a smaller batch",
        ),
    ],
)
def test_errors_in_a_worker(action: Any, message: str | None) -> None:
    loader = DataLoader(Faulty(action), num_workers=1)
    assert explain(caught(lambda: list(loader))) == message


def test_exhausted_memory_names_a_remedy() -> None:
    # More than any machine can map, so nothing is really allocated.
    error = caught(wrapped(lambda: torch.empty(1 << 60, dtype=torch.uint8)))
    assert explain(error) is not None
    assert "out of memory; use a smaller batch" in str(explain(error))
    assert "use a smaller batch" in str(explain(MemoryError()))


def test_a_full_disk_names_a_remedy() -> None:
    def fill() -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    line = "error: the disk is full; make room, or pass another --output_dir"
    assert explain(caught(wrapped(fill))) == line


def test_ctrl_c_says_where_to_go_on(tmp_path: Path) -> None:
    assert explain(KeyboardInterrupt(), tmp_path) == "stopped by the user"
    (tmp_path / "last.pt").touch()
    assert explain(KeyboardInterrupt(), tmp_path) == (
        f"stopped by the user; the last finished epoch is in {tmp_path / 'last.pt'}, "
        "--resume True goes on"
    )


def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    try:
        raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have one")
    except RuntimeError as error:
        line = explain(error)
    assert line is not None
    assert line.startswith("error: a GPU was asked for, and torch finds none")
    assert "--device" in line
