"""A file of weights: written whole or not at all, read without running code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ...data.errors import InputError
from ...data.files import write_atomically
from ..balancing import weights
from ..balancing.weights import description_beside
from .same_run import flag_value

Weights = str | Path | Sequence[str | Path]  # one file, or several that predict together

# What a description tells of the data; everything else in it is a setting of the same name.
_OF_DATA = ("widths", "classes", "sources")
# Its entry with digests of the training samples, which `same_run` compares.
TRAINED_ON = "trained_on"
# Its entries that tell of the training's cases, not of the network.
_OF_CASES = (TRAINED_ON, "grid")


def save(content: Any, path: str | Path) -> None:
    """Write tensors and plain values so that `path` holds either the old or the new file, whole.

    Raises:
        InputError: the disk is full or the folder cannot be written; the old file is still there.
    """
    write_atomically(path, lambda file: _archive(content, file))


def _archive(content: Any, file: BinaryIO) -> None:
    try:
        torch.save(content, file)
    except RuntimeError as error:
        # torch's archive writer hides the system's error, such as a full disk, below its own.
        raise _system_error(error) or error from error


def read(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a dictionary of tensors and plain values, never code.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        return weights.read(path, map_location)
    except ValueError as error:
        raise InputError(str(error)) from error


def load_network(
    path: str | Path,
    network: nn.Module,
    *,
    map_location: str | torch.device = "cpu",
    description: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Load the weights of `model.pt` or `last.pt` into a network.

    Args:
        path: a file that `TrainingCheckpoint` wrote, or any state dictionary of the same network.
        network: filled in place.
        map_location: device on which tensors are read.
        description: what the network is (encoder, sequences, …); compared with what the file, or
            the `model.json` beside a `model.pt`, tells.

    Returns:
        The network.

    Raises:
        InputError: the file cannot be read or belongs to another network.
    """
    content = read(path, map_location)
    state = content.get("network", content)
    trained = content.get("description") or description_beside(Path(path))
    check_fit(path, network, state, trained, description)
    if not is_finite(state):
        raise InputError(f"{path} holds weights that are NaN or infinite; train again")
    network.load_state_dict(_without_prefix(state))
    return network


def is_finite(state: Mapping[str, Any]) -> bool:
    """Whether no tensor of a state dictionary holds NaN or infinity."""
    return all(bool(t.isfinite().all()) for t in state.values() if isinstance(t, Tensor))


def check_fit(
    path: str | Path,
    network: nn.Module,
    state: Any,
    trained: Mapping[str, Any] | None = None,
    built: Mapping[str, Any] | None = None,
) -> None:
    """Refuse weights of another network, with what differs.

    Args:
        path: where the weights come from, for the message.
        network: what they should fit.
        state: the state dictionary.
        trained: description stored with the weights.
        built: description of `network`.

    Raises:
        InputError: the descriptions or the entries differ.
    """
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise InputError(f"{path} holds no state dictionary of a network")
    differing = {
        name: (trained[name], built[name])
        for name in (trained or {})
        if trained
        and built
        and name in built
        and trained[name] != built[name]
        and name not in _OF_CASES
    }
    data = [name for name in _OF_DATA if name in differing]
    if data:
        was, now = differing[data[0]]
        raise InputError(
            f"{path} was trained on data with {data[0]} {_text(was)}, these have {_text(now)}: "
            "give the data it was trained on, or train anew"
        )
    if differing:
        was = ", ".join(f"{name} {_text(value)}" for name, (value, _) in differing.items())
        now = ", ".join(_text(value) for _, value in differing.values())
        flags = " ".join(f"--{name} {flag_value(value)}" for name, (value, _) in differing.items())
        raise InputError(
            f"{path} was trained with {was}; this run builds {now}: build what was trained "
            f"({flags})"
        )
    keys = _differing_keys(_without_prefix(state), network.state_dict())
    if keys:
        raise InputError(
            f"{path} belongs to another network: {len(keys)} of its entries differ, such as "
            f"{', '.join(keys[:3])}; build the network it was trained with"
        )


def files_of(weights: Weights) -> list[Path]:
    """List the files of some weights.

    Raises:
        InputError: there is none.
    """
    files = [weights] if isinstance(weights, str | Path) else list(weights)
    if not files:
        raise InputError("no weights are given: pass the path of one file, or a list of paths")
    return [Path(file) for file in files]


def description_of(weights: Weights) -> dict[str, Any]:
    """Tell what some weights were trained as; empty when nothing tells it.

    Of several files, what the first tells, with the training samples of all.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    found = [description_beside(f) or read(f).get("description") for f in files_of(weights)]
    several = [told if isinstance(told, dict) else {} for told in found]
    samples = {name: None for told in several for name in _trained_on(told, weights)}
    return several[0] | ({TRAINED_ON: list(samples)} if samples else {})


def _trained_on(told: Mapping[str, Any], weights: Weights) -> Sequence[str]:
    """Digests of the training samples in a description."""
    found = told.get(TRAINED_ON, ())
    if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found):
        return found
    raise InputError(
        f"what {weights} was trained on is {str(found)[:80]}; expected a list of digests: copy the "
        "weights and the .json beside them again"
    )


def read_description(
    path: str | Path, needed: Sequence[str], *, remedy: str = "copy both"
) -> dict[str, Any]:
    """Say what the network in a file was built as, so that nobody has to repeat it.

    Args:
        path: a ``last.pt``, or a ``model.pt`` with its ``model.json`` beside it.
        needed: entries without which the network cannot be built again.
        remedy: what to do when they are not there.

    Raises:
        InputError: there is no such file, or nothing says how its network was built.
    """
    description = description_of(path)
    if any(name not in description for name in needed):
        beside = Path(path).with_suffix(".json")
        raise InputError(
            f"nothing says how the network in {path} was built: the file {beside} that training "
            f"wrote beside it is needed, with {', '.join(needed)}; {remedy}"
        )
    return description


def _differing_keys(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    differing = []
    for key in sorted(state.keys() | own.keys()):
        if key not in state:
            differing.append(f"{key} (not in the file)")
        elif key not in own:
            differing.append(f"{key} (not in the network)")
        elif state[key].shape != own[key].shape:
            shapes = f"{tuple(state[key].shape)} in the file, {tuple(own[key].shape)} here"
            differing.append(f"{key} ({shapes})")
    return differing


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the `module.` that DistributedDataParallel puts before every name."""
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _system_error(error: BaseException) -> OSError | None:
    """Find the OSError below what torch's archive writer makes of it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError):
            return link
        link = link.__cause__ or link.__context__
    return None


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)
