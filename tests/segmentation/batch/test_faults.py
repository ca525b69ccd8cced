"""A folder with one case for each fault that hospitals have, segmented in one run.

Every fault gets its sentence or its code, and every healthy case its mask.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES
from cggm.data.phantom.cases import make_case
from cggm.data.phantom.grid import output_grid
from cggm.data.phantom.head import make_head
from cggm.pipelines.segmentation.batch.case import Settings, Tool
from cggm.pipelines.segmentation.batch.cases import find_cases_to_segment
from cggm.pipelines.segmentation.batch.record import read_record
from cggm.pipelines.segmentation.batch.run import Outcome, segment_cases
from cggm.pipelines.segmentation.trained import weights_in

from .models import write_model

SPACING = 4.0  # mm: small cases
ARRAYS, _ = make_case(0, 0, SPACING)
IMAGES = {name: np.asarray(ARRAYS[name]) for name in SEQUENCES}
AFFINE = output_grid(SPACING).affine()

Files = dict[str, Path]
Plant = Callable[[Files], object]


def save(path: Path, image: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(image, affine), path)


def write(folder: Path) -> Files:
    """A healthy case."""
    folder.mkdir(parents=True)
    files = {name: folder / f"{folder.name}_{name}.nii.gz" for name in SEQUENCES}
    for name, path in files.items():
        save(path, IMAGES[name])
    return files


def header(*names: str, **fields: Any) -> Plant:
    """Overwrite fields of headers, T1ce's where none is named, whatever sense they make."""

    def plant(files: Files) -> None:
        for path in (files[name] for name in names or ("t1ce",)):
            content = gzip.decompress(path.read_bytes())
            found = nib.Nifti1Header(content[:348], check=False)
            for name, value in fields.items():
                found[name] = value
            path.write_bytes(gzip.compress(found.binaryblock + content[348:]))

    return plant


def content(change: Callable[[bytes], bytes]) -> Plant:
    return lambda files: files["t1ce"].write_bytes(change(files["t1ce"].read_bytes()))


def image(change: Callable[[np.ndarray], np.ndarray], *names: str) -> Plant:
    """Change the voxels of sequences, T1ce where none is named."""

    def plant(files: Files) -> None:
        for name in names or ("t1ce",):
            save(files[name], change(IMAGES[name]))

    return plant


def grid(change: Callable[[np.ndarray], np.ndarray], *names: str) -> Plant:
    """Give sequences another affine, all of them where none is named."""

    def plant(files: Files) -> None:
        for name in names or SEQUENCES:
            save(files[name], IMAGES[name], change(AFFINE))

    return plant


def sheared(affine: np.ndarray) -> np.ndarray:
    shear = np.eye(4)
    shear[0, 2] = 0.2
    return affine @ shear


def shift(affine: np.ndarray, mm: tuple[float, float, float]) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += mm
    return moved


def swap(files: Files) -> None:
    save(files["flair"], IMAGES["t1ce"])
    save(files["t1ce"], IMAGES["flair"])


def turned(affine: np.ndarray) -> np.ndarray:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    return turn @ affine


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype(np.float32)
        values[3, 4, 5] = value
        return values

    return change


def z_scored(values: np.ndarray) -> np.ndarray:
    inside = values[values > 0].astype(np.float32)
    return np.where(values > 0, (values - inside.mean()) / inside.std(), 0).astype(np.float32)


def clipped(values: np.ndarray) -> np.ndarray:
    return np.minimum(values, np.percentile(values[values > 0], 97)).astype(values.dtype)


def not_stripped(files: Files) -> None:
    head = make_head(0, 0, SPACING)
    for name in SEQUENCES:
        save(files[name], np.asarray(head.images[name]).astype(np.int16), head.affine)


def twice(files: Files) -> None:
    files["t1ce"].with_suffix("").write_bytes(gzip.decompress(files["t1ce"].read_bytes()))


def air_at_0(files: Files) -> None:
    """A head whose air alone was set to 0."""
    head = make_head(0, 0, SPACING)
    inside = head.images["t1"] > 0.03 * head.images["t1"].max()
    for name in SEQUENCES:
        save(files[name], np.where(inside, head.images[name], 0).astype(np.int16), head.affine)


def linked(files: Files) -> None:
    """A file that lies elsewhere."""
    elsewhere = files["t2"].parent.parent.with_name("elsewhere.nii.gz")
    files["t2"].rename(elsewhere)
    files["t2"].symlink_to(elsewhere)


def without_any(files: Files) -> None:
    for path in files.values():
        path.unlink()


# Refused, with words of the sentence.
REFUSED: dict[str, tuple[Plant, str]] = {
    "no_sequence": (without_any, "holds no NIfTI file"),
    "two_files_for_one": (twice, "two files for t1ce|2 files for t1ce"),
    "not_gzip": (content(gzip.decompress), "is not gzip although its name ends in .gz"),
    "cut_off": (content(lambda c: c[: len(c) // 2]), "damaged or truncated gzip file"),
    "checksum": (
        content(lambda c: c[:-8] + bytes([c[-8] ^ 255]) + c[-7:]),
        "damaged or truncated gzip file",
    ),
    "empty_file": (content(lambda _: b""), r"is empty \(0 bytes\)"),
    "pointer": (content(lambda _: b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "web_page": (content(lambda _: b"<!DOCTYPE html><html>"), "is a web page"),
    "short": (
        content(lambda c: gzip.compress(gzip.decompress(c)[:-100])),
        "fewer voxels than its header promises",
    ),
    "more_than_is_there": (header(dim=[3, 30000, 9, 10, 1, 1, 1, 1]), "fewer voxels than its"),
    "absurd_sides": (header(dim=[3, *[30000] * 3, 1, 1, 1, 1]), r"it promises \d+ bytes"),
    "4D": (image(lambda v: np.stack([v] * 4, -1)), "holds 4 volumes; expected one 3D volume"),
    "2D": (header(dim=[2, 48, 60, 1, 1, 1, 1, 1]), "is a single slice"),
    "one_slice": (image(lambda v: v[:, :, :1]), "is a single slice"),
    "other_shape": (image(lambda v: v[:-1]), "expected one grid|has .* voxels, but"),
    "moved": (grid(lambda a: shift(a, (3, 4, 0)), "t2"), "lies 5 mm away"),
    "NaN_in_the_affine": (header(srow_x=[np.nan, 0, 0, 0], sform_code=1), "NaN or infinity"),
    "singular_affine": (header(srow_x=[0, 0, 0, 0], sform_code=1), "singular affine"),
    "NaN": (image(with_one(np.nan)), "1 of .* voxels are NaN or infinite"),
    "infinity": (image(with_one(np.inf)), "1 of .* voxels are NaN or infinite"),
    "zeros": (image(np.zeros_like), "holds only zeros"),
    "one_value": (image(lambda v: np.full_like(v, 7)), "the same value 7 everywhere"),
    "copied": (
        lambda files: save(files["t2"], IMAGES["t1"]),
        "t1 and t2 are the same|the same voxels",
    ),
    "complex": (header(datatype=32, bitpix=64), "complex voxels"),
    "color": (header(datatype=128, bitpix=24), "color"),
    "skull": (not_stripped, "the background is not 0"),
    "name of a patient": (lambda files: files, "has no usable ID"),
    "background": (image(lambda v: v + 9), "background"),
    "z-scored_with_its_background": (
        image(lambda v: ((v - v.mean()) / v.std()).astype(np.float32), *SEQUENCES),
        "the background is .*, not 0",
    ),
}
# Segmented, with a code of the record, or none.
SEGMENTED: dict[str, tuple[Plant, str]] = {
    "rounding_of_the_affine": (grid(lambda a: a * (1 + 1e-9), "t2"), ""),
    "other_axes": (
        lambda files: [
            nib.save(nib.load(p).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), p)
            for p in files.values()
        ],
        "",
    ),
    "only_a_qform": (lambda files: header(sform_code=0, qform_code=1)(files), ""),
    "two_affines": (header(qform_code=1, qoffset_x=99), ""),
    "no_affine": (header(*SEQUENCES, sform_code=0, qform_code=0), "position"),
    "slope_of_0": (header(scl_slope=0, scl_inter=-10), ""),
    "slope_of_NaN": (header(scl_slope=np.nan, scl_inter=np.nan), ""),
    "float64": (image(lambda v: v.astype(np.float64)), ""),
    "z-scores": (image(z_scored, *SEQUENCES), ""),
    "sheared": (grid(sheared), ""),
    "oblique": (grid(turned), ""),
    "air_at_0": (air_at_0, "not_stripped"),
    "linked": (linked, ""),
    "spacing": (grid(lambda a: a @ np.diag([1.3, 1.3, 1.3, 1])), "spacing"),
    "clipped": (image(clipped), "clipped"),
    "swapped": (swap, "swapped"),
    "one_sequence": (lambda files: [files[n].unlink() for n in ("t1", "t1ce", "t2")], ""),
}
HEALTHY = ("P1", "Patient-2_2024-03-01", "x" * 120)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The output folder of one run over all of them."""
    root = tmp_path_factory.mktemp("Klinik für Radiologie, 01")
    source, output = root / "in", root / "out"
    for name, (plant, _) in {**REFUSED, **SEGMENTED}.items():
        plant(write(source / name))
    for name in HEALTHY:
        write(source / name)
    trained = {"grid": {"voxel_mm": [SPACING] * 3}}
    model = write_model(tmp_path_factory.mktemp("model") / "trained", more=trained)
    tool = Tool(weights_in(model), Settings(prepare="never"), "cpu")
    return output, segment_cases(find_cases_to_segment(source), output, tool, say=[].append)


def test_only_faults_fail(ended: tuple[Path, Outcome]) -> None:
    _, outcome = ended
    assert set(outcome.failed) == set(REFUSED)
    assert set(outcome.done) == {*SEGMENTED, *HEALTHY}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_is_a_sentence(ended: tuple[Path, Outcome], name: str) -> None:
    _, reason = ended[1].failed[name]
    assert re.search(REFUSED[name][1], reason), reason
    assert "Traceback" not in reason and "\n" not in reason


@pytest.mark.parametrize("name", [*SEGMENTED, *HEALTHY])
def test_what_can_be_segmented_is(ended: tuple[Path, Outcome], name: str) -> None:
    record = read_record(ended[0] / name)
    code = SEGMENTED.get(name, (None, ""))[1]
    found = {finding["code"] for finding in record["findings"]}
    assert code in found if code else not found, found


@pytest.mark.parametrize("name", [*SEGMENTED, *HEALTHY])
def test_a_mask_lies_on_its_image(ended: tuple[Path, Outcome], name: str) -> None:
    (mask,) = (ended[0] / name).glob("*_mask.nii.gz")
    (flair,) = (ended[0].with_name("in") / name).glob("*_flair.nii.gz")
    written, given = nib.load(mask), nib.load(flair)
    assert written.shape == given.shape
    np.testing.assert_allclose(written.affine, given.affine, atol=1e-6)


def test_strict_lets_a_case_with_an_error_fail(tmp_path: Path) -> None:
    swap(write(tmp_path / "in" / "P1"))
    write(tmp_path / "in" / "P2")
    model = write_model(tmp_path / "model", more={"grid": {"voxel_mm": [SPACING] * 3}})
    tool = Tool(weights_in(model), Settings(prepare="never", strict=True), "cpu")
    found = find_cases_to_segment(tmp_path / "in")
    outcome = segment_cases(found, tmp_path / "out", tool, say=[].append)
    assert set(outcome.done) == {"P2"} and set(outcome.failed) == {"P1"}
    stage, reason = outcome.failed["P1"]
    assert stage == "check" and "exchange the two files if a look at them agrees" in reason
