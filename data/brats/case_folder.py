"""How does one case become a folder of the slice store, and is that folder still up to date?

A folder holds `images.npy` (float16 z-scores, shape (Z, S, X, Y): one axial slice of all S
sequences is one contiguous read), `label.npy` (uint8 classes, shape (Z, X, Y)) and `meta.json`
(where they came from and what they should look like). It appears in one rename, so it is either
complete or not there, whatever kills the process.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import write_json
from .cases import Case, Source
from .nifti import Volume, read_case
from .normalization import brain_box, brain_statistics, standardize

VERSION = 1  # raise it when the same files would give other arrays; old folders are then rebuilt
IMAGES, LABEL, META = "images.npy", "label.npy", "meta.json"
BUILDING = ".building-"

Meta = dict[str, Any]


def convert_case(case: Case, folder: Path, sequences: tuple[str, ...]) -> str | None:
    """Read one case and write its folder below `folder`.

    Returns:
        None, or a sentence that says why this case cannot be used.

    Raises:
        InputError: `folder` cannot be written, which no other case would survive either.
    """
    try:
        refuse_incomplete(case, sequences)
        refuse_foreign(folder / case.name)
        sources = _fingerprints(case, sequences)
        arrays, meta = _stored_form(read_case(case, sequences), sequences)
    except (InputError, OSError) as error:
        return str(error) if case.name in str(error) else f"{case.name}: {error}"
    identity = {"version": VERSION, "case": case.name, "convention": case.convention}
    meta = identity | {"sources": sources} | meta
    try:
        _publish(case, folder, arrays, meta)
    except OSError as error:
        raise InputError(
            f"case {case.name} cannot be written to the slice store {folder}: "
            f"{error.strerror or error}; free some space there or choose another folder"
        ) from error
    return None


def refuse_incomplete(case: Case, sequences: tuple[str, ...]) -> None:
    """Raise an InputError when a sequence of `case` is missing."""
    missing = [name for name in sequences if name not in case.images]
    if missing:
        raise InputError(
            f"{case.name}: no {', '.join(missing)} (found {', '.join(case.images)}), but training "
            "needs every sequence of a case; add the file, leave the case out, or train without "
            "that sequence"
        )


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
        meta: Meta = json.loads((target / META).read_text())
        sizes = {name: entry["bytes"] for name, entry in meta["files"].items()}
        for name, size in sizes.items():
            if (found := (target / name).stat().st_size) != size:
                raise InputError(f"{target / name} has {found} bytes instead of {size}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{target} is damaged ({type(error).__name__}: {error})") from error
    return meta


def verify_checksums(target: Path, meta: Meta) -> None:
    """Raise an InputError when an array is not, byte for byte, what was written."""
    for name, entry in meta["files"].items():
        if zlib.crc32((target / name).read_bytes()) != entry["crc32"]:
            raise InputError(f"{target / name} does not have the checksum it was written with")


def stale_reason(
    case: Case, target: Path, sequences: tuple[str, ...], *, verify: bool = False
) -> str | None:
    """Say why the folder of a case has to be built (again); None when it is up to date.

    A source whose size, times and path are those of the last time is taken as unchanged; one
    that was only touched, moved or copied is recognized by its SHA-256.

    Args:
        verify: also read the arrays in full and compare their checksums.
    """
    if not target.is_dir():
        return "not converted yet"
    try:
        meta = read_meta(target)
        if verify:
            verify_checksums(target, meta)
    except (InputError, OSError) as error:
        return str(error)
    wanted = (VERSION, list(sequences), case.convention)
    found = tuple(meta.get(key) for key in ("version", "sequences", "convention"))
    if found != wanted:
        return f"(version, sequences, convention) were {found} and are now {wanted}"
    try:
        return _changed_source(case, target, sequences, meta)
    except (OSError, KeyError, TypeError) as error:
        return f"its sources cannot be compared ({type(error).__name__}: {error})"


def _changed_source(case: Case, target: Path, sequences: tuple[str, ...], meta: Meta) -> str | None:
    """Compare the source files with those of the last conversion, by their contents if need be."""
    sources = dict(_sources(case, sequences))
    if sources.keys() != meta["sources"].keys():
        return f"it was made from {', '.join(meta['sources'])}, now there are {', '.join(sources)}"
    touched = False
    for role, source in sources.items():
        before = meta["sources"][role]
        now = _quick_print(source)
        if now == {key: before[key] for key in now}:
            continue
        same = all(now[key] == before[key] for key in ("bytes", "channel"))
        if not same or _sha256(source.path) != before["sha256"]:
            return f"{source.path} has changed"
        meta["sources"][role] = before | now
        touched = True
    if touched:
        # So that the next run need not read the files again; nothing is lost if this fails.
        with suppress(InputError):
            write_json(target / META, meta)
    return None


def _sources(case: Case, sequences: tuple[str, ...]) -> list[tuple[str, Source]]:
    sources = [(name, case.images[name]) for name in sequences if name in case.images]
    return sources if case.label is None else [*sources, ("label", case.label)]


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
    hashes = {path: _sha256(path) for path in {source.path for _, source in sources}}
    return {role: _quick_print(src) | {"sha256": hashes[src.path]} for role, src in sources}


def _sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _stored_form(
    volume: Volume, sequences: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], Meta]:
    """Crop, standardize and lay out one volume; describe it for `meta.json`."""
    chosen = {name: volume.images[name] for name in sequences}
    box = brain_box(chosen, volume.label)
    statistics = {name: brain_statistics(image, name) for name, image in chosen.items()}
    scores = [standardize(image[box], statistics[name]) for name, image in chosen.items()]
    images = np.stack(scores).transpose(3, 0, 1, 2).astype(np.float16, order="C")
    arrays: dict[str, NDArray[Any]] = {IMAGES: images}
    meta: Meta = {
        "sequences": list(sequences),
        "shape": list(chosen[sequences[0]].shape),
        "native_shape": list(volume.native.shape),
        "box": [[side.start, side.stop] for side in box],
        "affine": np.asarray(volume.affine, dtype=float).tolist(),
        "spacing": np.linalg.norm(np.asarray(volume.affine)[:3, :3], axis=0).tolist(),
        "brain": {name: part._asdict() for name, part in statistics.items()},
        "class_voxels": None,
    }
    if volume.label is not None:
        arrays[LABEL] = np.ascontiguousarray(volume.label[box].transpose(2, 0, 1), dtype=np.uint8)
        counts = [(arrays[LABEL] == value).sum(axis=(1, 2)) for value in (1, 2, 3)]
        meta["class_voxels"] = np.stack(counts, axis=1).tolist()
    return arrays, meta


def _publish(case: Case, folder: Path, arrays: dict[str, NDArray[Any]], meta: Meta) -> None:
    """Write a folder beside its place, then rename it into it."""
    building = folder / f"{BUILDING}{uuid4().hex}"
    building.mkdir()
    try:
        files = {name: _write(building / name, array) for name, array in arrays.items()}
        _write_synced(building / META, json.dumps(meta | {"files": files}).encode())
        _put_in_place(building, case, tuple(meta["sequences"]))
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(building: Path, case: Case, sequences: tuple[str, ...]) -> None:
    """Rename `building` to the folder of its case, unless another process was faster."""
    target = building.with_name(case.name)
    for _ in range(10):
        try:
            os.rename(building, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if stale_reason(case, target, sequences) is None:
            return
        refuse_foreign(target)
        # A folder cannot replace a full one; whoever moves it away first makes room for both.
        old = building.with_name(f"{BUILDING}{uuid4().hex}")
        with suppress(FileNotFoundError):
            os.rename(target, old)
        shutil.rmtree(old, ignore_errors=True)
    raise OSError(errno.EBUSY, f"other processes keep replacing {target}")


def _write(path: Path, array: NDArray[Any]) -> dict[str, int]:
    """Write an array as .npy; return the size and checksum of the file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getbuffer()
    _write_synced(path, content)
    return {"bytes": len(content), "crc32": zlib.crc32(content)}


def _write_synced(path: Path, content: bytes | memoryview) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_ours(entry: Path) -> bool:
    # "in", not "==": a killed process may have left a temporary file of `meta.json`.
    return entry.name in (IMAGES, LABEL) or META in entry.name
