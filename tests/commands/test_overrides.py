"""Settings on the command line against the config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.commands.overrides import check_overrides, is_bundle_run, read_command, settings

CONFIG: dict[str, Any] = {
    "imports": ["$import os"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/runs'",
    "epochs": 20,
    "batch_size": 4,
    "sequences": ["flair", "t1"],
    "dataset_dir": None,
    "max_norm": 0.8,
    "resume": False,
    "lr": 0.01,
    "rho": 1.3,
    "lam": 0.2,
    "alpha": 0.3,
    "seed": 0,
    "method": "cggm",
    "methods": {
        "cggm": {"rho": "@rho", "lam": "@lam"},
        "ogm": {"alpha": "@alpha", "rate": "@lr"},
        "joint": {},
        "progress_rates": {},
    },
    "network_def": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 1},
    "network": "$@network_def.to('cpu')",
    "optimizer": {"_target_": "SGD", "params": "$@network.parameters()", "lr": "@lr"},
    "train": {"trainer": {"max_epochs": "@epochs"}, "handlers": [{"_target_": "X"}]},
    "initialize": [],
    "run": "$1",
}


def check(*words: str) -> None:
    check_overrides(CONFIG, read_command(words), free=("methods",))


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "1"],
        ["--epochs=1", "--config_file", "x.json"],
        ["training", "--init_id", "a", "--epochs", "$2"],
        ["--batch-size", "2"],
        ["--resume"],
        ["--noresume"],
        ["--lr", "1"],
        ["--rho", "2"],
        ["--max_norm", "$None"],
        ["--dataset_dir", "'20240101'"],
        ["--meta_file", "x.json"],
        ["--method", "ogm", "--alpha", "1", "--lr", "0.1"],
        ["--train#trainer#max_epochs", "1"],
        ["--train::trainer::max_epochs=1"],
        ["--train#handlers#0#_disabled_", "True"],
        ["--network_def#bias", "False"],
        ["--methods#cggm#anything", "1"],
        ["--tracking", "mlflow", "--experiment_name", "brats"],
    ],
)
def test_accepts_what_the_config_has(words: list[str]) -> None:
    check(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--epoch", "1"],
            r"no setting is called 'epoch' \(did you mean 'epochs'\?\)\. The settings are: "
            "bundle_root, output_dir, epochs, batch_size, dataset_dir, max_norm, "
            "resume, lr, rho, lam, alpha, seed, method$",
        ),
        (["--epoch=1"], "no setting is called 'epoch'"),
        (["--experiment_name", "x"], "no setting is called 'experiment_name'. The settings"),
        (["--tran#trainer#max_epochs", "1"], r"called 'tran' \(did you mean 'train'\?\)"),
        (
            ["--train#trainer#max_epoch", "1"],
            r"'train#trainer' has no entry 'max_epoch' \(did you mean 'max_epochs'\?\)",
        ),
        (["--train#handlers#7#a", "1"], "'train#handlers' has no entry '7'. Its entries are: 0"),
        (
            ["--network_def#in_feature", "1"],
            r"no entry 'in_feature' \(did you mean 'in_features'\?\)\. Its entries are: "
            "in_features, out_features, bias, device, dtype",
        ),
        (["--resume", "true"], "'resume' is True or False, not 'true': pass --resume True"),
        (
            ["--sequences", "flair"],
            """'sequences' is a list, not 'flair': pass --sequences "\\['fl""",
        ),
        (["--sequences", "3"], "'sequences' is a list, not 3"),
        (["--max_norm", "None"], r"None, which would leave .*default: pass --max_norm '\$None'"),
        (["--max_norm=None"], r"'max_norm' is None, which would leave it at its default"),
        (["--methods#cggm#rho", "None"], r"pass --methods#cggm#rho '\$None'"),
        (["--dataset_dir", "20240101"], "'dataset_dir' is 20240101; it must be a text"),
        (["--epochs", "ten"], "'epochs' is a number such as 20, not 'ten'"),
        (
            ["--method", "joint", "--rho", "1.0"],
            "'rho' is a setting of cggm, but the method is 'joint', which has no settings",
        ),
        (
            ["--method", "cggm", "--alpha", "1.0"],
            "'alpha' is a setting of ogm, but the method is 'cggm', which has the settings lam, "
            "rho",
        ),
        (
            ["--smoothing", "0.9"],
            "no setting is called 'smoothing', but it is one of progress_rates: pass --method "
            "progress_rates --methods#progress_rates#smoothing",
        ),
        (
            ["--method", "cgm"],
            r"no method is called 'cgm' \(did you mean 'cggm'\?\)\. "
            "The methods are: cggm, ogm, joint, progress_rates",
        ),
    ],
)
def test_refuses_what_it_has_not(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(*words)


def test_reads_the_arguments_file_below_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    file.write_text(json.dumps({"config_file": "a.json", "epochs": 5, "lr": 1.0}))
    given = read_command(["--args_file", str(file), "--epochs", "2"])
    assert given == {"args_file": str(file), "config_file": "a.json", "epochs": 2, "lr": 1.0}


def test_null_in_the_arguments_file_is_a_value(tmp_path: Path) -> None:
    """MONAI keeps it, unlike a None on the command line."""
    file = tmp_path / "arguments.json"
    file.write_text(json.dumps({"max_norm": None}))
    given = read_command(["--args_file", str(file)])
    assert given["max_norm"] is None
    check_overrides(CONFIG, given)


def test_reads_a_list_of_config_files() -> None:
    assert read_command(["--config_file", "['a.json','b.json']"])["config_file"] == [
        "a.json",
        "b.json",
    ]


def test_settings_are_plain_values_and_what_follows_from_them() -> None:
    assert "output_dir" in settings(CONFIG)
    assert not {"network", "methods", "initialize", "run", "imports"} & set(settings(CONFIG))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/x/monai/bundle/__main__.py", "run", "--a", "1"], True),
        (["/x/monai/bundle/__main__.py", "ckpt_export"], False),
        (["pytest", "run"], False),
        (["x"], False),
    ],
)
def test_knows_a_bundle_run(arguments: list[str], expected: bool) -> None:
    assert is_bundle_run(arguments) is expected
