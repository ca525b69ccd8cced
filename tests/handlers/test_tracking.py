"""The records of `--tracking mlflow`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Events
from monai.engines import SupervisedTrainer

from cggm.bundles import path

ITEMS = "$[{'image': torch.ones(2), 'label': torch.zeros(1)}] * 4"


class Balance:
    """Puts metrics on the trainer, as modulation does."""

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        engine.state.metrics["balance/flair"] = 0.5 * engine.state.epoch


TRAIN = json.loads((Path(path("brats")) / "train.json").read_text())
TRACKING = ("tracking_uri", "experiment_name", "run_name", "save_execute_config")
(TRACKER,) = (h for h in TRAIN["train"]["handlers"] if h["_target_"] == "MLFlowHandler")
CONFIG: dict[str, Any] = {
    **{name: TRAIN[name] for name in TRACKING},
    "bundle_root": ".",
    "output_dir": "runs",
    "is_main": True,
    "tracked": {"rho": "@rho", "method": {"name": "cggm"}, "sequences": ["t1", "t2"]},
    "rho": 1.3,
    "network_def": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 1},
    "train": {
        "handlers": [
            {"_target_": "test_tracking.Balance"},
            TRACKER,
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


def run(folder: Path, *words: str) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", "train.json", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert child.returncode == 0, child.stderr


@pytest.mark.slow
def test_settings_become_parameters_and_balance_a_curve(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    (tmp_path / "train.json").write_text(json.dumps(CONFIG))
    run(tmp_path, "--rho", "0.9", "--tracking", "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlruns.db")
    experiment = client.get_experiment_by_name("monai_experiment")
    (first,) = client.search_runs(experiment.experiment_id)
    assert first.data.params == {
        "rho": "0.9",
        "method/name": "cggm",
        "sequences": "['t1', 't2']",
        "max_epochs": "2",
        "epoch_length": "2",
    }
    curve = client.get_metric_history(first.info.run_id, "balance/flair")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 1.0)]

    # What a killed training left open is not taken for this one, whose settings are others.
    client.create_run(experiment.experiment_id, run_name="killed")
    run(tmp_path, "--rho", "0.8", "--tracking", "mlflow", "--run_name", "second")
    runs = {r.info.run_name: r.data.params for r in client.search_runs(experiment.experiment_id)}
    assert runs["killed"] == {} and runs["second"]["rho"] == "0.8" and len(runs) == 3


def test_does_nothing_without_tracking(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(CONFIG))
    run(tmp_path)
    assert not list(tmp_path.rglob("mlruns*"))
