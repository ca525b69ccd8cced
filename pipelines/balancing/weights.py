"""Reading of weights from a file, and of the description that lies beside them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch

_GIT_LFS = b"version https://git-lfs"


def read(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a dictionary of tensors and plain values, never code.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        raise ValueError(
            f"the weights {path} cannot be read: {reason}; train first, or pass their path "
            "(command line: --ckpt_path)"
        )
    foreign = _foreign(path)
    if foreign is not None:
        raise ValueError(f"{path} holds no weights: {foreign}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds Python objects besides tensors, which could run code; "
            "save the network's state_dict() instead"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # torch names no class for what a damaged archive raises
        raise ValueError(
            f"{path} is damaged or cut short ({path.stat().st_size} bytes); copy it again or use "
            "an older checkpoint"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not the weights of a network")
    return content


def description_beside(path: Path) -> dict[str, Any] | None:
    """Tell what bare weights were trained as: dilations and the order of sequences are no keys."""
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _foreign(path: Path) -> str | None:
    """What a file is that `torch.save` did not write; None for one that it may have written."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "the file is empty"
    if start.startswith(_GIT_LFS):
        return "it is a pointer of Git LFS; fetch the file itself with 'git lfs pull'"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as a download without permission gives; download it again"
    if not start.startswith((b"PK", b"\x80")):
        return "it is not a file that torch.save wrote"
    return None
