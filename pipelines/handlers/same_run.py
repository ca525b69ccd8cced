"""Settings of a run: as a tracker keeps them, and as a resumed run must repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import InputError

# Digests of the data are below this name; the rest are settings as on the command line.
DATA = "data#"
# What optimizers and schedules keep of their settings is below this name.
STATES = "state#"
_OF_STATES = ("initial_lr", "weight_decay", "momentum", "betas", "step_size", "gamma")
# The path of weights that are read again; where they lie changes nothing.
_PATHS = ("#teachers",)
# What MLflow stores of one value.
_LONGEST_PARAMETER = 6000


def experiment_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as parameters of an experiment tracker, for MONAI's `MLFlowHandler`.

    >>> experiment_parameters({"lr": 0.1, "methods": {"cggm": {"rho": 1.3}}})
    {'lr': '0.1', 'methods/cggm/rho': '1.3'}
    """
    return {name: str(value)[:_LONGEST_PARAMETER] for name, value in _flat(settings, "/").items()}


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a checkpoint keeps them: plain values by their names on the command line.

    >>> plain_settings({"lr": 0.1, "methods": {"cggm": {"rho": 1.3}}, "size": (32, 48)})
    {'lr': 0.1, 'methods#cggm#rho': 1.3, 'size': [32, 48]}
    """
    flat = _flat(settings, "#")
    return {name: _plain(value) for name, value in flat.items() if not name.endswith(_PATHS)}


def settings_of_states(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings that optimizers and schedules keep in their states, which would win silently.

    >>> settings_of_states({"optimizer": {"param_groups": [{"momentum": 0.9}, {"momentum": 0}]}})
    {'state#momentum of the optimizer': [0.9, 0]}
    """
    settings: dict[str, Any] = {}
    for part, state in states.items():
        groups = state.get("param_groups", [state])
        for name in _OF_STATES:
            values = [_plain(group[name]) for group in groups if name in group]
            if values:
                settings[f"{STATES}{name} of the {part}"] = values
    return settings


def check_settings(trained: Mapping[str, Any], now: Mapping[str, Any], path: str | Path) -> None:
    """Refuse to resume with other settings or data than before.

    Args:
        trained: from :func:`plain_settings` and :func:`settings_of_states`, as the file has them.
        now: those of this run; what only one of both has is not compared.
        path: the file, for the message.

    Raises:
        InputError: something differs; settings are named before the states that follow from them.
    """
    differing = [name for name in now if name in trained and trained[name] != now[name]]
    settings = [name for name in differing if not name.startswith((DATA, STATES))]
    states = [name for name in differing if name.startswith(STATES)]
    elsewhere = "or train anew in another output folder"
    if settings or states:
        names = settings or states
        was = ", ".join(f"{name.removeprefix(STATES)} {trained[name]}" for name in names)
        has = ", ".join(str(now[name]) for name in names)
        flags = " ".join(f"--{name} {flag_value(trained[name])}" for name in settings)
        remedy = f"resume with those of the first run{f' ({flags})' if flags else ''}, {elsewhere}"
        raise InputError(f"{path} was trained with {was}; this run has {has}: {remedy}")
    if differing:
        what = ", ".join(name.removeprefix(DATA) for name in differing)
        raise InputError(
            f"{path} was trained on other data (the {what} differ): resume with the data and the "
            f"split of the first run, {elsewhere}"
        )


def flag_value(value: Any) -> str:
    """A value as a user writes it on the command line."""
    if value is None:
        return "'$None'"
    text = str(list(value)) if isinstance(value, list | tuple) else str(value)
    return f'"{text}"' if " " in text or "[" in text else text


def _flat(settings: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Values by name, with the names of nested dictionaries joined."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            inner = _flat(value, separator)
            flat |= {f"{name}{separator}{key}": item for key, item in inner.items()}
        else:
            flat[name] = value
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
