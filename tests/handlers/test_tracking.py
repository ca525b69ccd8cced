"""What `--tracking mlflow` keeps of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn

from cggm.pipelines.handlers.tracking import TrackedSettings

ITEMS = "$[{'image': torch.ones(2), 'label': torch.zeros(1)}] * 4"


class Balance:
    """Puts metrics on the trainer, as modulation does."""

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        engine.state.metrics["balance/flair"] = 0.5 * engine.state.epoch


CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "rho": 1.3,
    "network_def": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 1},
    "train": {
        "handlers": [
            {"_target_": "test_tracking.Balance"},
            {
                "_target_": "cggm.pipelines.handlers.tracking.TrackedSettings",
                "settings": {"rho": "@rho", "method": {"name": "cggm"}, "sequences": ["t1", "t2"]},
            },
        ],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "device": "cpu",
            "max_epochs": 2,
            "train_data_loader": {"_target_": "DataLoader", "dataset": ITEMS, "batch_size": 2},
            "network": "@network_def",
            "optimizer": "$torch.optim.SGD(@network_def.parameters(), lr=0.1)",
            "loss_function": "$torch.nn.MSELoss()",
            "train_handlers": "@train#handlers",
        },
    },
    "run": ["$@train#trainer.run()"],
}


@pytest.mark.slow
def test_settings_become_parameters_and_balance_a_curve(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    (tmp_path / "train.json").write_text(json.dumps(CONFIG))
    words = ["run", "--config_file", "train.json", "--rho", "0.9", "--tracking", "mlflow"]
    words += ["--output_dir", "$'runs'"]
    child = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert child.returncode == 0, child.stderr
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlruns.db")
    experiment = client.get_experiment_by_name("monai_experiment")
    (run,) = client.search_runs(experiment.experiment_id)
    assert run.data.params == {
        "rho": "0.9",
        "method/name": "cggm",
        "sequences": "['t1', 't2']",
        "max_epochs": "2",
        "epoch_length": "2",
    }
    curve = client.get_metric_history(run.info.run_id, "balance/flair")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 1.0)]


def test_does_nothing_without_tracking() -> None:
    network = nn.Linear(2, 1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(1, 2), "label": torch.zeros(1, 1)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.MSELoss(),
        train_handlers=[TrackedSettings({"rho": 1.0})],
    )
    trainer.run()
    assert trainer.state.epoch == 1
