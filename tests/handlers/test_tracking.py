"""The records of `--tracking mlflow`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cggm.bundles import path

from ..processes import commands

ITEMS = "$[{'image': torch.ones(2), 'label': torch.zeros(1)}] * 4"


# Puts metrics on the trainer, as modulation does.
BALANCE = """
from ignite.engine import Events

class Balance:
    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine):
        engine.state.metrics["balance/flair"] = 0.5 * engine.state.epoch
"""


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
            {"_target_": "balance.Balance"},
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


# What a killed training leaves behind: a run that is open.
KILLED = """
import mlflow
client = mlflow.MlflowClient("sqlite:///runs/mlruns.db")
experiment = client.get_experiment_by_name("monai_experiment")
client.create_run(experiment.experiment_id, run_name="killed")
"""


@pytest.mark.slow
def test_settings_become_parameters_and_balance_a_curve(
    tmp_path: Path,
) -> None:
    mlflow = pytest.importorskip("mlflow")
    (tmp_path / "train.json").write_text(json.dumps(CONFIG))
    (tmp_path / "balance.py").write_text(BALANCE)
    (tmp_path / "killed.py").write_text(KILLED)
    train = ["monai.bundle", "run", "--config_file", "train.json"]
    tracked = [*train, "--tracking", "mlflow"]
    several = [
        [*train, "--output_dir", "plain"],
        [*tracked, "--rho", "0.9", "--run_name", "first"],
        ["killed"],
        [*tracked, "--rho", "0.8", "--run_name", "second"],
    ]
    results = commands(several, tmp_path, ("monai.bundle", "monai.engines", "mlflow"))
    assert [code for code, _, _ in results] == [0] * 4, results
    assert {path.parent.name for path in tmp_path.rglob("mlruns*")} == {"runs"}

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlruns.db")
    experiment = client.get_experiment_by_name("monai_experiment")
    runs = {r.info.run_name: r for r in client.search_runs(experiment.experiment_id)}
    assert runs["first"].data.params == {
        "rho": "0.9",
        "method/name": "cggm",
        "sequences": "['t1', 't2']",
        "max_epochs": "2",
        "epoch_length": "2",
    }
    curve = client.get_metric_history(runs["first"].info.run_id, "balance/flair")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 1.0)]
    # The open one is not taken for the second, whose settings are others.
    assert runs["killed"].data.params == {} and runs["second"].data.params["rho"] == "0.8"
    assert len(runs) == 3
