"""Is the run that is resumed the run that was stopped?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from .tracking import flat

# What is known of the data, below this name; the rest are settings as on the command line.
DATA = "data#"
# The path of weights that are read again; where they lie changes nothing.
_PATHS = ("#teachers",)
# Settings that optimizers and schedules keep in their states, and what we call them.
_OF_STATES = {
    "initial_lr": "a learning rate of",
    "weight_decay": "a weight decay of",
    "momentum": "a momentum of",
    "betas": "betas of",
    "step_size": "a learning rate step of",
    "gamma": "a learning rate factor of",
}


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a checkpoint keeps them: plain values by their names on the command line.

    >>> plain_settings({"lr": 0.1, "methods": {"cggm": {"rho": 1.3}}, "size": (32, 48)})
    {'lr': 0.1, 'methods#cggm#rho': 1.3, 'size': [32, 48]}
    """
    return {name: _plain(v) for name, v in flat(settings, "#") if not name.endswith(_PATHS)}


def check_settings(trained: Mapping[str, Any], now: Mapping[str, Any], path: str | Path) -> None:
    """Refuse to resume with other settings or data than before.

    Args:
        trained: from :func:`plain_settings`, as the file has them.
        now: those of this run; what only one of both has is not compared.
        path: the file, for the message.

    Raises:
        InputError: something differs.
    """
    differing = [name for name in now if name in trained and trained[name] != now[name]]
    settings = [name for name in differing if not name.startswith(DATA)]
    if settings:
        was = ", ".join(f"{name} {trained[name]}" for name in settings)
        flags = " ".join(f"--{name} {flag_value(trained[name])}" for name in settings)
        raise InputError(
            f"{path} was trained with {was}; this run has "
            f"{', '.join(str(now[name]) for name in settings)}: resume with {flags}, or train anew "
            "in another --output_dir"
        )
    if differing:
        what = ", ".join(name.removeprefix(DATA) for name in differing)
        raise InputError(
            f"{path} was trained on other data (the {what} differ): resume with the data and the "
            "split of the first run, or train anew in another --output_dir"
        )


def check_states(trained: Mapping[str, Any], now: Mapping[str, Any], path: str | Path) -> None:
    """Refuse to resume with another learning rate or the like: the file's would silently win.

    Args:
        trained: state of the optimizer, or of the schedule, in the file.
        now: its state in this run.
        path: the file, for the message.

    Raises:
        InputError: a setting differs.
    """
    groups = zip(trained.get("param_groups", []), now.get("param_groups", []), strict=False)
    for old, new in [*groups, (trained, now)]:
        for name in _OF_STATES:
            if name in old and name in new and old[name] != new[name]:
                raise InputError(
                    f"{path} was trained with {_OF_STATES[name]} {old[name]}, this run has "
                    f"{new[name]}: resume with the first run's, or train anew in another "
                    "--output_dir"
                )


def flag_value(value: Any) -> str:
    """A value as a user writes it on the command line."""
    if value is None:
        return "'$None'"
    text = str(list(value)) if isinstance(value, list | tuple) else str(value)
    return f'"{text}"' if " " in text or "[" in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
