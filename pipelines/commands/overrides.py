"""Checks of the settings on the command line against those that the config has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

import fire
from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.config_item import ComponentLocator

from ...data.errors import InputError, nearest
from ..methods import CATALOGUE
from .limits import check_limits

# What `python -m monai.bundle run` and the workflow behind it take themselves.
_OF_MONAI = (
    "run_id",
    "init_id",
    "final_id",
    "meta_file",
    "config_file",
    "logging_file",
    "tracking",
    "args_file",
    "workflow_name",
    "workflow_type",
    "properties_path",
)
_OF_TRACKING = (
    "output_dir",
    "tracking_uri",
    "experiment_name",
    "run_name",
    "save_execute_config",
)


def read_command(arguments: Sequence[str]) -> dict[str, Any]:
    """Read what follows `monai.bundle run` the way MONAI does, with Fire.

    Args:
        arguments: the words after `run`.

    Returns:
        Arguments of MONAI and overrides, with those of `--args_file` filled in below them.

    Raises:
        InputError: a setting is None, which MONAI takes as not given: its default would stay.
    """
    found: dict[str, Any] = {}

    def run(run_id=None, init_id=None, final_id=None, **rest: Any) -> None:  # noqa: ANN001
        nothing = [key for key, value in rest.items() if value is None]
        if nothing:
            raise InputError(
                f"'{nothing[0]}' is None, which would leave it at its default: pass "
                f"--{nothing[0]} '$None'"
            )
        given = {"run_id": run_id, "init_id": init_id, "final_id": final_id, **rest}
        found.update({key: value for key, value in given.items() if value is not None})

    fire.Fire(run, command=list(arguments), name="monai.bundle run")
    if isinstance(found.get("args_file"), str):
        found = {**load_config(found["args_file"], ConfigParser.load_config_file), **found}
    return found


def load_config(
    files: str | Sequence[str],
    load: Callable[[Any], Any] = ConfigParser.load_config_files,
) -> dict[str, Any]:
    """Read configurations, the later over the earlier ones.

    Raises:
        InputError: one cannot be read, or holds something else than names and values.
    """
    try:
        content = load(files)
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}")
    except Exception as error:  # MONAI and the readers of JSON and YAML have many kinds
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(
            f"the configuration {files} cannot be read ({reason or type(error).__name__}); "
            "expected names and values in JSON or YAML"
        ) from error
    return content


def check_overrides(
    config: Mapping[str, Any], given: Mapping[str, Any], *, free: Sequence[str] = ()
) -> None:
    """Refuse an override that names nothing in the config; MONAI ignores it silently.

    Args:
        config: the merged config files, before any override.
        given: what `read_command` returned.
        free: top-level entries below which any new key is accepted.

    Raises:
        InputError: an unknown setting, a setting of another method, or an unfit value.
    """
    own = set(_OF_MONAI) | (set(_OF_TRACKING) if given.get("tracking") else set())
    overrides = {key: value for key, value in given.items() if key not in own}
    for key, value in overrides.items():
        path = ReferenceResolver.split_id(key)
        if path[0] not in config:
            raise InputError(_unknown_setting(path[0], config))
        if len(path) > 1 and path[0] not in free:
            _check_path(config, path)
        if len(path) == 1:
            _check_value(key, config[key], value)
    _check_method(config, overrides)


def settings(config: Mapping[str, Any]) -> list[str]:
    """Names of the top-level entries that are plain values, or computed from plain values only."""

    def is_plain(name: str, seen: tuple[str, ...] = ()) -> bool:
        value = config.get(name)
        if name in seen or isinstance(value, (dict, list)) or name not in config:
            return False
        uses = references(value)
        return all(is_plain(ReferenceResolver.split_id(use)[0], (*seen, name)) for use in uses)

    hidden = {"initialize", "run", "finalize", "imports"}
    return [name for name in config if is_plain(name) and name not in hidden and name[0] != "_"]


def _unknown_setting(name: str, config: Mapping[str, Any]) -> str:
    methods = [m for m in config.get("methods", {}) if m in CATALOGUE and name in _arguments(m)]
    if methods:
        flags = " or ".join(f"--method {m} --methods#{m}#{name}" for m in methods)
        return (
            f"no setting is called '{name}', but it is one of {' and '.join(methods)}: pass {flags}"
        )
    guess = nearest(name, [key for key in config if key[0] != "_"])
    known = ", ".join(settings(config))
    return f"no setting is called '{name}'{guess}. The settings are: {known}"


def _arguments(method: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(CATALOGUE[method]).parameters


def _check_path(config: Mapping[str, Any], path: list[str]) -> None:
    here: Any = config
    for depth, key in enumerate(path):
        if isinstance(here, list):
            known: list[str] = [str(index) for index in range(len(here))]
        else:
            known = list(here) if isinstance(here, dict) else []
        if key not in known:
            if depth == len(path) - 1 and _takes(here, key):
                return
            allowed = known + [name for name in _parameters(here) or [] if name not in known]
            where = "#".join(path[:depth])
            raise InputError(
                f"'{where}' has no entry '{key}'{nearest(key, allowed)}. Its entries are: "
                + ", ".join(name for name in allowed if name != "_target_")
            )
        here = here[int(key)] if isinstance(here, list) else here[key]


def _takes(component: Any, key: str) -> bool:
    """Tell whether a new key of a component is an argument of what it builds."""
    if not isinstance(component, dict) or "_target_" not in component:
        return False
    if key in ("_disabled_", "_requires_", "_mode_", "_desc_"):
        return True
    parameters = _parameters(component)
    return parameters is None or key in parameters


def _parameters(component: Any) -> list[str] | None:
    """Give the arguments that a component's target accepts, None when they cannot be known."""
    if not isinstance(component, dict) or not isinstance(component.get("_target_"), str):
        return None
    name = component["_target_"]
    module = ComponentLocator().get_component_module_name(name) if "." not in name else None
    target = locate(f"{module}.{name}" if isinstance(module, str) else name)
    if not callable(target):
        return None
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters]


def _check_value(key: str, before: Any, value: Any) -> None:
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        return
    if isinstance(before, bool) and not isinstance(value, bool):
        raise InputError(f"'{key}' is True or False, not '{value}': pass --{key} True")
    if isinstance(before, list) and not isinstance(value, list | tuple | None):
        raise InputError(f"'{key}' is a list, not {value!r}: pass --{key} \"[{value!r}]\"")
    is_text = isinstance(before, str) and before[:1] not in ("$", "@", "%")
    if is_text and not isinstance(value, (str, type(None))):
        raise InputError(f"""'{key}' is a text, not {value!r}: pass --{key} "'{value}'\"""")
    if isinstance(before, (int, float)) and not isinstance(before, bool):
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise InputError(f"'{key}' is a number such as {before}, not '{value}'")
        if isinstance(before, int) and isinstance(value, float):
            raise InputError(f"'{key}' is a whole number such as {before}, not {value}")
    check_limits(key, value)


def _check_method(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuse a setting that only methods other than the selected one use."""
    methods = config.get("methods")
    method = overrides.get("method", config.get("method"))
    if not isinstance(methods, dict) or not isinstance(method, str) or method[:1] in ("$", "@"):
        return
    if method not in methods:
        guess = nearest(method, methods)
        names = ", ".join(methods)
        raise InputError(f"no method is called '{method}'{guess}. The methods are: {names}")
    for key in overrides:
        users = users_of(config, key)
        if users and method not in users:
            own = sorted(references(methods[method]))
            has = f"has the settings {', '.join(own)}" if own else "has no settings"
            raise InputError(
                f"'{key}' is a setting of {' and '.join(users)}, but the method is '{method}', "
                f"which {has}"
            )


def users_of(config: Mapping[str, Any], setting: str) -> list[str]:
    """The methods that a setting is for; none where it concerns all of them."""
    elsewhere = {name: value for name, value in config.items() if name != "methods"}
    if setting in references(elsewhere):
        return []
    return [name for name, own in config["methods"].items() if setting in references(own)]


def references(value: Any) -> set[str]:
    """Names of all entries that a part of a config refers to."""
    return {name for text in _texts(value) for name in ReferenceResolver.match_refs_pattern(text)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def is_bundle_run(arguments: Sequence[str]) -> bool:
    """Tell whether a program's arguments are those of `python -m monai.bundle run …`."""
    if len(arguments) < 2:
        return False
    program = Path(arguments[0])
    return program.parts[-3:] == ("monai", "bundle", "__main__.py") and arguments[1] == "run"
