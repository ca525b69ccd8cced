"""The folder that `cggm segment` writes and other commands read: its names, a case's record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from ...data.files import read_json
from .one_by_one import FAILED

FORMAT = 1  # raise it when the same files would give other masks, or entries mean something else

VOLUMES, OVERVIEW, FOLLOWED = "volumes.csv", "index.html", "follow.csv"
CONVERTED, PREPARED, COURSES = "dicom", "prepared", "follow"
# No case may be called so.
NAMES = (VOLUMES, FAILED, OVERVIEW, FOLLOWED, CONVERTED, PREPARED, COURSES)
MARK = ".cggm_segment"  # a file that says of which folder the cases are
VIEW = "view"  # in the folder of a case


def record_file(folder: Path) -> Path:
    """The record in the folder of a case, its last file to be written."""
    return folder / f"{folder.name}.json"


def read_content(folder: Path) -> dict[str, Any]:
    """Read the record of a case as it stands; what its entries are is not checked.

    Raises:
        InputError: it is not there, of another format, or of another case.
    """
    path = record_file(folder)
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT}")
        case = content["case"]
        for name in (content.get("mask") or "", *(content.get("native_masks") or {}).values()):
            if Path(name).name != name:
                raise ValueError(f"its mask {name!r} lies elsewhere")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_a_record(folder, error) from error
    if case != folder.name:
        raise InputError(
            f"the record {path} is of case {case!r}: a folder keeps the name of its case"
        )
    return content


def changed_since(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    """Files of a case whose size is not the recorded one, such as a corrected mask.

    Raises:
        OSError: one is gone.
    """
    return [name for name, size in sizes.items() if (folder / name).stat().st_size != size]


def corrected_masks(folder: Path, record: Mapping[str, Any]) -> str:
    """Say which masks of a case somebody has corrected; empty where none is.

    Raises:
        OSError: one is gone.
    """
    mask = record.get("mask")
    masks = {mask, *(record.get("native_masks") or {}).values()}
    sizes = {name: size for name, size in (record.get("files") or {}).items() if name in masks}
    changed = changed_since(folder, sizes)
    if not changed:
        return ""
    measured = "; cggm follow measures the corrected one" if mask in changed else ""
    return f"corrected: {', '.join(changed)}; the figures are of the network's own mask{measured}"


def not_a_record(folder: Path, error: Exception) -> InputError:
    """The error for a record that cannot be read."""
    return InputError(
        f"{record_file(folder)} is no record of cggm segment ({type(error).__name__}: {error}): "
        "segment the case again"
    )


def case_folders(output: Path) -> list[Path]:
    """Folders of cases: those with a record, or with a mask or a view that should have one."""
    if not output.is_dir():
        return []
    found = [folder for folder in output.iterdir() if folder.is_dir() and folder.name[0] != "."]
    return sorted(folder for folder in found if _is_case(folder))


def _is_case(folder: Path) -> bool:
    names = (f"{folder.name}.json", f"{folder.name}_mask.nii.gz", VIEW)
    return folder.name not in NAMES and any((folder / name).exists() for name in names)
