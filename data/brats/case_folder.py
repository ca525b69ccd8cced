"""One converted case: its folder of arrays, and whether that is still up to date.

A folder holds `images.npy` (float16 z-scores, shape (Z, S, X, Y): one axial slice of all S
sequences is one contiguous read; zeros for a sequence that the case does not have), `label.npy`
(uint8 classes, shape (Z, X, Y)) and `meta.json` (where they came from and what they should look
like). It is either complete or not there.
"""

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import digest_of, read_json, whole_folder, write_json
from .cases import Case, Source
from .nifti import Volume, read_case
from .normalization import prepare

VERSION = 2  # raise it when the same files would give other arrays; old folders are then rebuilt
IMAGES, LABEL, META = "images.npy", "label.npy", "meta.json"

Meta = dict[str, Any]


def convert_case(case: Case, folder: Path, sequences: tuple[str, ...]) -> str | None:
    """Read one case and write its folder below `folder`.

    Returns:
        None, or a sentence that says why this case cannot be used.

    Raises:
        InputError: `folder` cannot be written, which no other case would survive either.
    """
    target = folder / case.name
    try:
        refuse_foreign(target)
        sources = _fingerprints(case, sequences)
        arrays, meta = _stored_form(read_case(case, sequences), sequences)
    except (InputError, OSError) as error:
        return str(error) if case.name in str(error) else f"{case.name}: {error}"
    identity = {"version": VERSION, "case": case.name, "convention": case.convention}
    identity["cavity"] = case.cavity
    files = {name: _npy(array) for name, array in arrays.items()}
    meta |= identity | {
        "sources": sources,
        "files": {name: {"bytes": len(content)} for name, content in files.items()},
    }

    def outdated(place: Path) -> bool:
        """Whether what lies there, perhaps from a faster process, makes way."""
        refuse_foreign(place)
        return stale_reason(case, place, sequences) is not None

    with whole_folder(target, replace=outdated) as building:
        for name, content in files.items():
            (building / name).write_bytes(content)
        (building / META).write_text(json.dumps(meta))
    return None


def refuse_foreign(target: Path) -> None:
    """Raise an InputError when `target` is not ours to replace, such as a folder of NIfTI files."""
    if not target.is_dir():
        return
    foreign = sorted(entry.name for entry in target.iterdir() if not _is_ours(entry))
    if foreign:
        raise InputError(
            f"{target} holds {foreign[0]} and so is no part of a slice store; choose another "
            "folder for the store, not the one with the data"
        )


def read_meta(target: Path) -> Meta:
    """Read `meta.json` and check that the arrays beside it have the size that it says.

    Raises:
        InputError: something is missing, unreadable or truncated.
    """
    try:
        meta: Meta = read_json(target / META)
        for name, entry in meta["files"].items():
            size = (target / name).stat().st_size
            if size != entry["bytes"]:
                raise InputError(f"{target / name} has {size} bytes instead of {entry['bytes']}")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{target} is damaged ({type(error).__name__}: {error})") from error
    return meta


def stale_reason(case: Case, target: Path, sequences: tuple[str, ...]) -> str | None:
    """Say why the folder of a case has to be built (again); None when it is up to date.

    A source whose size, times and path are those of the last time is taken as unchanged; one
    that was only touched, moved or copied is recognized by its SHA-256.
    """
    if not target.is_dir():
        return "not converted yet"
    try:
        meta = read_meta(target)
        now = (VERSION, list(sequences), case.convention, case.cavity)
        before = tuple(meta.get(key) for key in ("version", "sequences", "convention"))
        before += (meta.get("cavity", False),)  # older folders do not say it
        if before != now:
            return f"(version, sequences, convention, cavity) were {before} and are now {now}"
        return _changed_source(case, target, sequences, meta)
    except InputError as error:
        return str(error)
    except (OSError, KeyError, TypeError) as error:
        return f"its sources cannot be compared ({type(error).__name__}: {error})"


def _changed_source(case: Case, target: Path, sequences: tuple[str, ...], meta: Meta) -> str | None:
    """Compare the source files with those of the last conversion, by their contents if need be."""
    sources = _sources(case, sequences)
    if sources.keys() != meta["sources"].keys():
        return f"it was made from {', '.join(meta['sources'])}, now there are {', '.join(sources)}"
    touched = False
    for role, source in sources.items():
        before, now = meta["sources"][role], _quick_print(source)
        if now == {key: before[key] for key in now}:
            continue
        same = all(now[key] == before[key] for key in ("bytes", "channel"))
        if not same or digest_of(source.path) != before["sha256"]:
            return f"{source.path} has changed"
        meta["sources"][role] = before | now
        touched = True
    if touched:
        # So that the next run need not read the files again; nothing is lost if this fails.
        with suppress(InputError):
            write_json(target / META, meta)
    return None


def _sources(case: Case, sequences: tuple[str, ...]) -> dict[str, Source]:
    sources = {name: case.images[name] for name in sequences if name in case.images}
    return sources if case.label is None else sources | {"label": case.label}


def _quick_print(source: Source) -> dict[str, Any]:
    """What tells that a file may have changed, without reading it (times in nanoseconds)."""
    status = os.stat(source.path)
    return {
        "path": os.path.abspath(source.path),
        "channel": source.channel,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _fingerprints(case: Case, sequences: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    sources = _sources(case, sequences)
    digests = {path: digest_of(path) for path in {source.path for source in sources.values()}}
    return {
        role: _quick_print(source) | {"sha256": digests[source.path]}
        for role, source in sources.items()
    }


def _stored_form(
    volume: Volume, sequences: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], Meta]:
    """Crop, standardize and lay out one volume; describe it for `meta.json`."""
    scores, box, _ = prepare(volume.images, volume.label)
    nothing = np.zeros_like(next(iter(scores.values())))
    stacked = np.stack([scores.get(name, nothing) for name in sequences])
    images = np.ascontiguousarray(stacked.transpose(3, 0, 1, 2))
    arrays: dict[str, NDArray[Any]] = {IMAGES: images}
    meta: Meta = {
        "sequences": list(sequences),
        "shape": list(next(iter(volume.images.values())).shape),
        "box": [[side.start, side.stop] for side in box],
        "affine": np.asarray(volume.affine, dtype=float).tolist(),
        "class_voxels": None,
    }
    if volume.label is not None:
        arrays[LABEL] = np.ascontiguousarray(volume.label[box].transpose(2, 0, 1), dtype=np.uint8)
        counts = [(arrays[LABEL] == value).sum(axis=(1, 2)) for value in (1, 2, 3)]
        meta["class_voxels"] = np.stack(counts, axis=1).tolist()
    return arrays, meta


def _npy(array: NDArray[Any]) -> memoryview:
    """An array as the content of a `.npy` file: NumPy itself hides why a disk refuses it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getbuffer()


def _is_ours(entry: Path) -> bool:
    # "in", not "==": a killed process may have left a temporary file of `meta.json`.
    return entry.name in (IMAGES, LABEL) or META in entry.name
