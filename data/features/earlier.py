"""Feature files of the version before, in HDF5, and how they become files of today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import optional
from .file import SUFFIX, FeatureFile, Sample, index_of, write_features

EARLIER_FORMAT = "cggm features 1"
EARLIER_SUFFIX = ".h5"


def earlier_files(folder: Path) -> list[Path]:
    """List the files in HDF5 that have no file of today beside them."""
    files = sorted(folder.glob(f"*{EARLIER_SUFFIX}"))
    return [
        path
        for path in files
        if not path.name.startswith(".") and not path.with_suffix(SUFFIX).exists()
    ]


def refuse_earlier(folder: Path) -> None:
    """Refuse a folder with features of the version before.

    Raises:
        InputError: says how to convert them.
    """
    names = [path.name for path in earlier_files(folder)]
    if names:
        raise InputError(
            f"{folder} holds features of an earlier version ({', '.join(names)}); convert them "
            f"with: cggm extract finish {folder}"
        )


def convert_earlier(path: Path) -> FeatureFile:
    """Write a file of the version before as one of today; the old file stays.

    Ids, values, checksum and `about` are the same.

    Raises:
        InputError: it cannot be read, is damaged, or the new one cannot be written.
    """
    h5py = optional("h5py", "features", "feature files of an earlier version")
    output = path.with_suffix(SUFFIX)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != EARLIER_FORMAT:
                raise InputError(f"{path} holds no features of ours ('{EARLIER_FORMAT}')")
            about, checksum = json.loads(file.attrs["about"]), file.attrs["checksum"]
            dtype = str(file["values"].dtype)
            written = write_features(output, _samples(file), about=about, dtype=dtype)
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} cannot be read as HDF5 ({reason}); copy or extract it again"
        ) from error
    if written.checksum != checksum:
        for made in (index_of(output), output):
            made.unlink()
        raise InputError(f"{path} is damaged: its checksum is another; copy or extract it again")
    return written


def _samples(file: Any) -> Iterator[Sample]:
    end = 0
    for name, length in zip(file["ids"][()], file["lengths"][()], strict=True):
        end += int(length)
        yield name.decode(), file["values"][end - int(length) : end]
