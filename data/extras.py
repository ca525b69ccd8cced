"""Packages that only some users need, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .errors import InputError


def optional(module: str, extra: str, purpose: str, note: str = "") -> ModuleType:
    """Import a module of a package that an extra of this project installs.

    Args:
        module: its name.
        extra: of this project, which installs the package.
        purpose: what the package is for, the beginning of the message.
        note: on the package, such as its license; the end of the message.

    Raises:
        InputError: it is not installed, or lacks a library of the system.
    """
    try:
        return import_module(module)
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        package = module.partition(".")[0]
        raise InputError(
            f"{purpose} need the package {package}, which is not installed: "
            f'pip install "cggm[{extra}]"{note}'
        ) from error
