"""Does a file in HDF5 have the parts of a feature file, each of the right type and shape?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py

from ..errors import InputError

# What each part holds, and how many axes it has.
_PARTS = {"ids": ("texts", 1), "lengths": ("whole numbers", 1), "values": ("numbers", 2)}


def check_layout(file: h5py.File, path: Path) -> None:
    """Refuse what no program of ours writes, before it becomes an error of HDF5 or NumPy.

    Args:
        file: opened; see :class:`FeatureFile` for what is in it.
        path: for error messages.

    Raises:
        InputError: a part holds something else, has another shape, or is empty.
        KeyError: a part is missing.
    """
    for name, (wanted, axes) in _PARTS.items():
        stored = file[name]
        if not isinstance(stored, h5py.Dataset):
            raise InputError(f"{path}: {name} is a group; expected {wanted}: write it again")
        found = _kind(stored)
        fits = found == wanted or (found, wanted) == ("whole numbers", "numbers")
        if not fits or stored.ndim != axes or 0 in stored.shape:
            raise InputError(
                f"{path}: {name} holds {found} of shape {stored.shape}; expected {wanted} of shape "
                f"{('(N,)', '(steps, width)')[axes - 1]}, at least one: write it with "
                "cggm.pipelines.extraction or cggm.pipelines.commands.convert"
            )
    about: Any = file.attrs["about"]
    if not isinstance(json.loads(about), dict):
        raise InputError(f"{path}: about is no table of names and values; extract it again")


def _kind(stored: h5py.Dataset) -> str:
    if h5py.check_string_dtype(stored.dtype) is not None:
        return "texts"
    kinds = {"i": "whole numbers", "u": "whole numbers", "f": "numbers"}
    return kinds.get(stored.dtype.kind, f"the type {stored.dtype}")
