"""`python -m monai.bundle run` as a user starts it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cggm.data.errors import InputError
from cggm.pipelines.commands.start import make_writable, start

ITEMS = "$[{'image': torch.ones(2), 'label': torch.zeros(1)}] * 4"
CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/runs'",
    "epochs": 2,
    "batch_size": 2,
    "accumulation": 1,
    "resume": False,
    "seed": 7,
    "network_def": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 1},
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network_def.parameters()", "lr": 0.1},
    "train": {
        "dataloader": {"_target_": "DataLoader", "dataset": ITEMS, "batch_size": "@batch_size"},
        "scheduler": {
            "_target_": "cggm.pipelines.handlers.learning_rate.warmup_cosine",
            "optimizer": "@optimizer",
            "epochs": "@epochs",
            "epoch_length": "$len(@train#dataloader)",
        },
        "handlers": [
            {"_target_": "cggm.pipelines.handlers.Announcement", "optimizer": "@optimizer"},
            {
                "_target_": "LrScheduleHandler",
                "lr_scheduler": "@train#scheduler",
                "print_lr": False,
                "epoch_level": False,
            },
            {
                "_target_": "cggm.pipelines.handlers.progress.EpochLog",
                "folder": "@output_dir",
                "optimizer": "@optimizer",
            },
            {
                "_target_": "cggm.pipelines.handlers.checkpoints.TrainingCheckpoint",
                "folder": "@output_dir",
                "network": "@network_def",
                "optimizer": "@optimizer",
                "scheduler": "@train#scheduler",
                "resume": "@resume",
            },
        ],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "device": "cpu",
            "max_epochs": "@epochs",
            "train_data_loader": "@train#dataloader",
            "network": "@network_def",
            "optimizer": "@optimizer",
            "loss_function": "$torch.nn.MSELoss()",
            "accumulation_steps": "@accumulation",
            "train_handlers": "@train#handlers",
        },
    },
    "initialize": [
        {
            "_target_": "cggm.pipelines.commands.start",
            "output_dir": "@output_dir",
            "seed": "@seed",
        }
    ],
    "run": ["$@train#trainer.run()"],
}


def launch(folder: Path, *words: str, config: dict[str, Any] = CONFIG) -> subprocess.Popen[str]:
    (folder / "train.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "train.json", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CGGM_TRACEBACK": "0"},
    )


def messages(stderr: str) -> list[str]:
    """Leave out what MONAI says before any of our code runs."""
    before = ("Default logging file", "Metadata file", "create_workflow(", "UserWarning")
    lines = [line for line in stderr.splitlines() if line.strip()]
    return [line for line in lines if not any(text in line for text in before)]


# Runs several commands one after another, each in a process of its own as `python -m` would, but
# imports torch and MONAI only once.
SEVERAL = """
import json, os, runpy, sys, traceback
import monai.bundle, monai.engines, monai.handlers, cggm.pipelines.commands.start
results = []
for number, words in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(f"{number}.{stream}", os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = ["", "run", "--config_file", "train.json", *words]
        code = 0
        try:
            runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    results.append([code, open(f"{number}.1").read(), open(f"{number}.2").read()])
print(json.dumps(results))
"""


def test_trains_fails_and_resumes(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(CONFIG))
    commands = [
        ["--resume", "True"],
        ["--network_def#in_features", "3"],
        ["--epochs", "1", "--batch-size", "1", "--accumulation", "2"],
        ["--epochs", "1", "--batch_size=1", "--accumulation=2", "--resume"],
        ["--epochs", "2", "--batch_size=1", "--accumulation=2", "--resume"],
    ]
    server = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(commands)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    nothing, fault, trained, finished, resumed = json.loads(server.stdout)

    assert nothing[0] == 1
    (line,) = messages(nothing[2])
    assert line.startswith("error: there is nothing to resume: runs/last.pt is missing; pass the")

    assert fault[0] == 1, "a fault of the program keeps its traceback"
    assert "Traceback" in fault[2]
    assert "error:" not in messages(fault[2])[-1]

    assert trained[0] == 0, trained[2]
    assert "epoch 1/1  loss" in trained[1]
    assert "batches per epoch: 4" in trained[1]
    assert messages(trained[2]) == []

    assert finished[0] == 0, finished[2]
    assert "already trained for 1 epochs; ask for more (--epochs) to go on" in finished[1]
    assert "epoch 1/" not in finished[1]

    assert resumed[0] == 0, resumed[2]
    assert "epoch 2/2  loss" in resumed[1]
    assert len((tmp_path / "runs" / "history.csv").read_text().splitlines()) == 3


def test_a_misspelled_setting_is_one_line(tmp_path: Path) -> None:
    child = launch(tmp_path, "--epoch", "1")
    _, err = child.communicate()
    assert child.returncode == 1
    assert messages(err) == [
        "error: no setting is called 'epoch' (did you mean 'epochs'?). The settings are: "
        "bundle_root, output_dir, epochs, batch_size, accumulation, resume, seed"
    ]
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_is_one_line_and_130(tmp_path: Path) -> None:
    child = launch(tmp_path, "--epochs", "1000000")
    assert child.stdout is not None
    # The line of an epoch comes before its checkpoint: the second proves that there is one.
    while not child.stdout.readline().startswith("epoch       2/"):
        pass
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    # The interpreter ends itself with the signal, which a shell shows as 130.
    assert child.returncode in (130, -signal.SIGINT)
    assert len(messages(err)) == 1
    assert messages(err)[0].startswith("stopped by the user; the last finished epoch is in ")


def test_start_makes_the_folder_and_seeds_everything(tmp_path: Path) -> None:
    drawn = []
    hook = sys.excepthook
    try:
        for _ in range(2):
            start(output_dir=str(tmp_path / "a" / "b"), seed=3)
            drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    finally:
        sys.excepthook = hook
    assert drawn[0] == drawn[1]
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_refuses_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; choose another one"):
        make_writable(tmp_path / "file")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); choose another"):
        make_writable(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="cannot be written"):
        make_writable("/proc/self/runs")
    with pytest.raises(InputError, match=r"x cannot be written \(File name too long\)"):
        make_writable(tmp_path / ("x" * 300))
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
