"""Refusal of values that cannot work, before anything is computed."""

from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.commands.limits import check_limits


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "'batch_size' is 0; it must be a whole number, 1 or more"),
        ("epochs", 1.5, "'epochs' is 1.5; it must be a whole number"),
        ("num_workers", -1, "'num_workers' is -1; it must be a whole number, 0 or more"),
        ("lr", -1, "'lr' is -1; it must be a number above 0"),
        ("momentum", 2, "'momentum' is 2; it must be a number from 0 to 1"),
        ("max_norm", 0, r"'max_norm' is 0; it must be a number above 0, or '\$None'"),
        ("limits", [3, -3], r"'limits' is \[3, -3\]; it must be two numbers in rising order"),
        ("limits", 3, "'limits' is 3; it must be two numbers in rising order"),
        ("limits", ["a", "b"], "it must be two numbers in rising order"),
        ("fold", "x", "'fold' is 'x'; it must be a whole number"),
        ("modalities", "text", "'modalities' is 'text'; it must be a list of names such as"),
        ("modalities", [1], r"'modalities' is \[1\]; it must be a list of names"),
        ("dataset_dir", 20240101, """is 20240101; it must be a text: pass --dataset_dir "'2024"""),
        ("split_file", True, """is True; it must be a text: pass --split_file "'True'\""""),
        ("size", 33, "'size' is 33; it must be a multiple of 16"),
        ("size", [32, 40], "it must be a multiple of 16"),
        ("rates", [1, 2], "it must be a list of three whole numbers"),
        ("class_weights", [1, 2], "it must be a list of four numbers"),
        ("part", "tst", "'part' is 'tst'; it must be 'train', 'val', 'test' or 'all'"),
        ("device", "gpu", "the device 'gpu' cannot be used .*; expected cpu, or cuda where"),
        ("device", "cuda:99", "the device 'cuda:99' cannot be used .*; expected cpu, or cuda"),
    ],
)
def test_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_limits(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", [32, 48]),
        ("size", 160),
        ("max_norm", None),
        ("lr", 1e-3),
        ("weight_decay", 0),
        ("limits", (-3, 3)),
        ("limits", None),
        ("modalities", ["text"]),
        ("fold", 0),
        ("dataset_dir", "20240101"),
    ],
)
def test_accepted(name: str, value: Any) -> None:
    check_limits(name, value)


def test_settings_without_a_limit_are_left_alone() -> None:
    check_limits("encoder", "resnet18")
