"""Features of texts, images, recordings and clips; the command is ``cggm extract``.

Names are loaded when they are used: the help of the command needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .encoder import Encoder
    from .encoders import load_encoder
    from .options import Options
    from .run import Plan, Result, extract
    from .table import Sample, list_folder, read_table

_MODULES = {
    "Encoder": "encoder",
    "Options": "options",
    "Plan": "run",
    "Result": "run",
    "Sample": "table",
    "extract": "run",
    "list_folder": "table",
    "load_encoder": "encoders",
    "read_table": "table",
}

__all__ = [
    "Encoder",
    "Options",
    "Plan",
    "Result",
    "Sample",
    "extract",
    "list_folder",
    "load_encoder",
    "read_table",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
