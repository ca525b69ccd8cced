"""Pickles on disk for tests, and what is said when one is refused."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from cggm.data.errors import InputError
from cggm.data.published.pickles import read_arrays


def written(folder: Path, content: Any, protocol: int = 4) -> Path:
    (folder / "data.pkl").write_bytes(pickle.dumps(content, protocol, fix_imports=False))
    return folder / "data.pkl"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)


def opcode_of_text(text: str) -> bytes:
    """What puts a text on the stack of a pickle."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()
