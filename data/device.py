"""The device that computes, by the name that a user gives."""

from __future__ import annotations

import torch

from .errors import InputError


def device_named(name: str | torch.device | None) -> torch.device:
    """Give the device of a name; of "auto" or None a GPU where there is one, else the CPU.

    Raises:
        InputError: there is no such device, or not on this machine.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the device {str(name)!r} cannot be used ({reason}); expected cpu, or cuda where "
            "there is a GPU of NVIDIA"
        ) from error
    return device
