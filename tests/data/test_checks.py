"""Every kind of broken file is named: case, file, what was found, what is expected, the remedy."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES, Case, Source, find_cases
from cggm.data.brats.nifti import check_cases, read_case
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter, edit_nifti_header


def refusal(folder: Path) -> str:
    (case,) = find_cases(folder)
    with pytest.raises(InputError) as error:
        read_case(case, SEQUENCES)
    assert check_cases([case]) == [(case.name, str(error.value))]
    return str(error.value)


def edit_bytes(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 255]) + content[-7:]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is empty (0 bytes): copy or download it again"),
    "lfs": (
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "is a Git LFS pointer and not the file itself: run git lfs pull",
    ),
    "html": (lambda _: b"\n<!DOCTYPE html><html>Log in</html>", "is a web page (HTML)"),
    "not gzip": (gzip.decompress, "is not gzip although its name ends in .gz: rename it to .nii"),
    "noise": (lambda _: b"\0" * 999, "name ends in .gz: is it an image at all?"),
    "truncated": (lambda content: content[:-200], "is a damaged or truncated gzip file of"),
    "trailer": (lambda content: content[:-4], "is a damaged or truncated gzip file of"),
    "checksum": (flip_checksum, "incorrect data check"),
    "deflate": (
        lambda content: content[:600] + bytes(40) + content[640:],
        "is a damaged or truncated gzip file of",
    ),
    "no header": (lambda _: gzip.compress(b"\0" * 999), "has no NIfTI header"),
    "short header": (lambda c: gzip.compress(gzip.decompress(c)[:100]), "has no NIfTI header"),
    "short data": (
        lambda content: gzip.compress(gzip.decompress(content)[:-100]),
        "is cut off, with fewer voxels than its header promises: copy or download it again",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(damage: str, tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    change, words = DAMAGE[damage]
    edit_bytes(files["t1ce"], change)
    message = refusal(tmp_path)
    assert message.startswith(f"case P1: {files['t1ce']} ") and words in message, message


def test_uncompressed_files_that_are_short_or_gzip(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path, suffix=".nii")
    whole = files["t1"].read_bytes()
    files["t1"].write_bytes(whole[:-1])
    assert "is cut off, with fewer voxels than its header promises" in refusal(tmp_path)
    files["t1"].write_bytes(gzip.compress(whole))
    assert "is gzip although its name does not end in .gz: rename it" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [3, 30000, 9, 10, 1, 1, 1, 1]}, "is cut off, with fewer voxels than its header"),
        ({"dim": [3, 4000, 4000, 4000, 1, 1, 1, 1]}, "bytes for the shape (4000, 4000, 4000))"),
        ({"dim": [3, 1200, 1200, 1200, 1, 1, 1, 1]}, "bytes for the shape (1200, 1200, 1200))"),
        ({"dim": [3, -5, 9, 10, 1, 1, 1, 1]}, "has the shape (-5, 9, 10) in its header; it is dam"),
        ({"dim": [2, 90, 8, 1, 1, 1, 1, 1]}, "is a single slice of shape (90, 8); expected a 3D"),
        ({"dim": [3, 90, 8, 1, 1, 1, 1, 1]}, "is a single slice of shape (90, 8, 1)"),
        ({"dim": [4, 8, 9, 5, 2, 1, 1, 1]}, "is 4D and holds 2 volumes; expected one 3D volume"),
        ({"datatype": 32, "bitpix": 64}, "holds complex voxels; expected one real number"),
        ({"datatype": 128, "bitpix": 24}, "holds color (RGB) voxels"),
        ({"datatype": 999}, "has a damaged header (data code 999 not recognized): write it"),
        ({"scl_inter": np.inf}, "has a damaged header (Valid slope but invalid intercept inf)"),
        ({"vox_offset": 100}, "has a damaged header (vox offset 100 too low"),
        ({"vox_offset": np.nan}, "has a damaged header (cannot convert float NaN"),
        ({"magic": b"ni1"}, "is half of an .hdr/.img pair"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "has NaN or infinity in its affine"),
        ({"srow_x": [0, 0, 0, 0]}, "has a singular affine (voxels of 0 x 1 x 1 mm"),
        ({"srow_x": [1, 1, 0, 0], "srow_y": [0, 0, 0, 0]}, "has a singular affine"),
        ({"sform_code": 0, "quatern_b": 5}, "has a damaged header (w2 should be positive"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "has a singular affine"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "singular affine"),
    ],
)
def test_headers_that_make_no_sense(
    fields: dict[str, object], words: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    edit_nifti_header(files["t1"], **fields)
    message = refusal(tmp_path)
    assert message.startswith(f"case P1: {files['t1']} ") and words in message, message


def test_4d_file_points_to_the_msd_layout(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["flair"], nifti_cases.image(0, (8, 9, 10, 4)))
    assert 'holds 4 volumes; expected one 3D volume: is this an MSD file (layout="msd")' in refusal(
        tmp_path
    )


@pytest.mark.parametrize(("volumes", "found"), [(3, "3 volumes"), (5, "5 volumes")])
def test_msd_file_with_another_number_of_volumes(
    volumes: int, found: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.msd(tmp_path, volumes=volumes)
    assert f"BRATS_001.nii.gz holds {found}; expected 4, one per sequence" in refusal(tmp_path)


def test_msd_file_that_is_3d(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.save(nifti_cases.msd(tmp_path), nifti_cases.image(0))
    assert "holds 1 volume; expected 4, one per sequence" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (np.nan, "2 of 720 voxels are NaN or infinite; expected finite numbers: set them to 0"),
        (-np.inf, "2 of 720 voxels are NaN or infinite"),
        (1e300, "2 of 720 voxels are NaN or infinite"),
    ],
)
def test_voxels_that_are_no_numbers(
    fill: float, words: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    array = nifti_cases.image(1).astype(np.float64)
    array[3, 3, 3:5] = fill
    nifti_cases.save(files["t1"], array)
    message = refusal(tmp_path)
    assert message.startswith(f"case P1: {files['t1']} (t1): ") and words in message


@pytest.mark.parametrize(
    ("value", "words"), [(0, "holds only zeros"), (7, "holds the same value 7 everywhere")]
)
def test_constant_images(
    value: int, words: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["t2"], np.full((8, 9, 10), value, np.int16))
    assert f"{files['t2']} (t2) {words}; expected an image" in refusal(tmp_path)


def test_one_sequence_copied_over_another(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    files["t1ce"].write_bytes(files["t1"].read_bytes())
    message = "case P1: t1 and t1ce hold the same voxels; expected two different images"
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("key", ["t1", "label"])
def test_shapes_that_differ(key: str, tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files[key], nifti_cases.image(5, (8, 9, 11)) % 2)
    message = refusal(tmp_path)
    assert f"{files[key]} has 8 x 9 x 11 voxels, but case P1: {files['flair']} has 8 x 9 x 10" in (
        message
    )


@pytest.mark.parametrize("key", ["t1", "label"])
def test_grids_that_are_shifted(key: str, tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    shifted = np.eye(4)
    shifted[:3, 3] = (3, 4, 0)
    nifti_cases.save(files[key], nifti_cases.image(5) % 2, shifted)
    message = refusal(tmp_path)
    assert f"{files[key]} lies 5 mm away from case P1: {files['flair']} at a corner" in message
    assert "register and resample the one to the other, for example with cggm prepare" in message


def test_a_scale_error_counts_at_the_far_corner(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["t1"], nifti_cases.image(1), np.diag([1, 1, 1.002, 1]))
    message = refusal(tmp_path)
    assert "lies 0.018 mm away" in message  # 9 steps of 0.002 mm
    assert "expected at most 0.01 mm, 0.01 of a voxel" in message


def test_a_header_that_does_not_tell_left_from_right(
    tmp_path: Path, nifti_cases: NiftiCaseWriter, caplog: pytest.LogCaptureFixture
) -> None:
    files = nifti_cases.case(tmp_path)
    (case,) = find_cases(tmp_path)
    read_case(case, SEQUENCES)
    assert caplog.messages == []
    for path in files.values():
        edit_nifti_header(path, sform_code=0, qform_code=0)
    read_case(case, SEQUENCES)
    (message,) = caplog.messages
    assert message.startswith(f"case P1: {files['flair']} does not say how the patient lies")
    assert "left and right may be swapped, and voxels of 1 x 1 x 1 mm are believed" in message


def test_label_values_of_another_year(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    label = nifti_cases.label((0, 1, 2, 3))
    nifti_cases.save(files["label"], label)
    count = int((label == 3).sum())
    message = refusal(tmp_path)
    assert f"case P1: {files['label']} holds label 3 in {count} voxels" in message
    assert "3 is ET in brats2023" in message


def test_each_faulty_label_of_a_folder_is_named(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    sound = nifti_cases.label((0, 1, 2, 4))
    moved = np.eye(4)
    moved[0, 3] = 3
    labels = {
        "P0": (sound, np.eye(4), ""),
        "P1": (np.where(sound == 4, 3, sound), np.eye(4), "holds label 3 in"),
        "P2": (np.where(sound == 4, 7, sound), np.eye(4), "holds label 7 in"),
        "P3": (sound * np.float32(0.6), np.eye(4), "label voxels between whole numbers"),
        "P4": (sound[:-1], np.eye(4), "voxels, but"),
        "P5": (sound, moved, "lies 3 mm away from"),
        "P6": (sound * np.float32(0.9999), np.eye(4), ""),
        "P7": (np.zeros_like(sound), np.eye(4), ""),
    }
    for name, (label, affine, _) in labels.items():
        files = nifti_cases.case(tmp_path, name)
        nifti_cases.save(files["label"], label, affine)
    problems = dict(check_cases(find_cases(tmp_path)))
    assert set(problems) == {name for name, (_, _, words) in labels.items() if words}
    for name, problem in problems.items():
        assert f"case {name}: " in problem and labels[name][2] in problem


def test_interpolated_label(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["label"], np.full((8, 9, 10), 1.5, np.float32))
    assert "holds 720 label voxels between whole numbers such as 1.5" in refusal(tmp_path)


def test_a_label_of_unknown_convention_is_not_read(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    case = Case("P1", {"t1": Source(files["t1"])}, Source(files["label"]), None, "brats2023")
    with pytest.raises(InputError, match="case P1: no label convention was chosen for"):
        read_case(case, ["t1"])


def test_files_that_cannot_be_opened(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    (case,) = find_cases(tmp_path)
    files["t1"].unlink()
    assert (
        "t1.nii.gz cannot be read (No such file or directory); a broken link?"
        in (check_cases([case])[0][1])
    )
    files["t1"].mkdir()
    assert "t1.nii.gz cannot be read (Is a directory)" in check_cases([case])[0][1]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_files_of_somebody_else(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path)["t1"].chmod(0)
    assert "cannot be read (Permission denied); is it yours?" in refusal(tmp_path)


def test_checking_goes_on_after_a_broken_case(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path, "P1")["t1"].write_bytes(b"")
    nifti_cases.case(tmp_path, "P2")
    nifti_cases.case(tmp_path, "P3")["label"].write_bytes(b"")
    cases = find_cases(tmp_path)
    odd = Case("P4", {"t1": Source(Path("a\0b.nii"))}, None, None, "brats2018")
    problems = check_cases([*cases, odd])
    assert [name for name, _ in problems] == ["P1", "P3", "P4"]
