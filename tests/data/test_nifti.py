"""Reading and writing NIfTI: what is read and written lies where it did."""

from __future__ import annotations

import os
import pickle
import tarfile
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.brats.cases import SEQUENCES, find_cases
from cggm.data.brats.checks import Grid, check_same_grid
from cggm.data.brats.nifti import read_case, write_mask
from cggm.data.errors import InputError

from .conftest import NiftiCaseWriter, edit_nifti_header, load_nifti


def oblique(axes: str, spacing: tuple[float, float, float] = (1.0, 1.2, 2.5)) -> np.ndarray:
    """Affine with the given axes, turned by some degrees around two of them."""
    a, b = 0.2, -0.1
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    ras = turn @ np.diag(spacing)
    for column, letter in enumerate(axes):
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1)}.get(
            letter, (2, 1 if letter == "S" else -1)
        )
        affine[:3, column] = sign * ras[:, world]
    affine[:3, 3] = (-90.0, 126.5, -72.25)
    return affine


def test_a_case_comes_in_ras_axes(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, affine=oblique("ASL"))
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    assert list(volume.images) == list(SEQUENCES)
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    for key, image in volume.images.items():
        expected = nib.as_closest_canonical(load_nifti(files[key]))
        assert image.dtype == np.float32
        assert np.array_equal(image, np.asarray(expected.dataobj))
        assert np.allclose(volume.affine, expected.affine, atol=1e-6)
    label = np.asarray(nib.as_closest_canonical(load_nifti(files["label"])).dataobj)
    assert volume.label is not None and volume.label.dtype == np.uint8
    assert np.array_equal(volume.label, np.where(label == 4, 3, label))
    assert volume.native.shape == (8, 9, 10)


def test_only_the_wanted_sequences_are_read(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, without=["t2"])
    files["flair"].write_bytes(b"broken")
    (case,) = find_cases(tmp_path, allow_missing=True)
    assert list(read_case(case, ["t2", "t1ce"]).images) == ["t1ce"]
    with pytest.raises(InputError, match=r"case P1: none of \['t2'\] is there; it has \['flair'"):
        read_case(case, ["t2"])


def test_msd_volumes_go_to_their_sequences(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.msd(tmp_path)
    (tmp_path / "dataset.json").write_text(
        '{"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}'
    )
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    for seed, key in enumerate(SEQUENCES):
        assert np.array_equal(volume.images[key], nifti_cases.image(seed))
    values = nifti_cases.label((0, 1, 2, 3))
    assert np.array_equal(volume.label, np.array([0, 2, 1, 3])[values])  # 1 is edema there
    assert volume.native.shape == (8, 9, 10)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "i4", "f4", ">f4", "f8", "i8"])
def test_every_real_data_type(dtype: str, tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path, suffix=".nii")
    array = (nifti_cases.image(7) % 200).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(array.dtype)
    nib.save(nib.Nifti1Image(array, np.eye(4), header), files["t1"])
    (case,) = find_cases(tmp_path)
    assert np.array_equal(read_case(case, ["t1"]).images["t1"], array)


def test_nifti_2_and_trailing_axes(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    array = nifti_cases.image(7)[..., None]
    nib.save(nib.Nifti2Image(array, np.eye(4)), files["flair"])
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    assert np.array_equal(volume.images["flair"], array[..., 0])
    assert volume.label is not None
    write_mask(volume.label, volume.native, tmp_path / "mask.nii.gz", "brats2021")
    written = load_nifti(tmp_path / "mask.nii.gz")
    assert isinstance(written, nib.Nifti2Image) and written.shape == (8, 9, 10, 1)


def test_slope_and_intercept_are_applied(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["t1"], nifti_cases.image(1) + 20)
    edit_nifti_header(files["t1"], scl_slope=0.5, scl_inter=-10)
    edit_nifti_header(files["t2"], scl_slope=0, scl_inter=-10)  # slope 0 means: not scaled
    (case,) = find_cases(tmp_path)
    images = read_case(case, SEQUENCES).images
    assert np.array_equal(images["t1"], nifti_cases.image(1) * 0.5)
    assert np.array_equal(images["t2"], nifti_cases.image(3))


def test_files_in_different_axes_meet(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    image = load_nifti(files["t2"])
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, files["t2"])
    (case,) = find_cases(tmp_path)
    assert np.array_equal(read_case(case, ["t1", "t2"]).images["t2"], nifti_cases.image(3))


def test_rounding_of_an_affine_is_accepted(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["t1"], nifti_cases.image(1), np.eye(4) + np.diag([1e-8, 0, 0, 0]))
    (case,) = find_cases(tmp_path)
    assert read_case(case, SEQUENCES).images["t1"].shape == (8, 9, 10)


def test_rounding_of_another_program_is_accepted(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    """One grid at the size of BraTS, its affine through float32 quaternions and back."""
    shape = (240, 240, 155)
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), oblique("LPS", (1.0, 1.0, 1.0)))
    exact = image.affine.copy()
    image.set_sform(None, 0)
    image.set_qform(exact, 1)
    rounded = image.header.get_qform()
    assert 0 < np.abs(rounded - exact).max() < 1e-5
    check_same_grid(Grid("image", shape, exact), Grid("label", shape, rounded))
    moved = exact.copy()
    moved[0, 3] += 0.02
    with pytest.raises(InputError, match="label lies 0.02 mm away from image"):
        check_same_grid(Grid("image", shape, exact), Grid("label", shape, moved))


def test_what_the_standard_allows_is_read(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    """A qfac of 0 is 1; a slope of NaN scales nothing; bytes behind gzip's stream are ignored."""
    files = nifti_cases.case(tmp_path)
    for path in files.values():
        edit_nifti_header(path, sform_code=0, pixdim=[0, 1, 1, 1, 0, 0, 0, 0])
    edit_nifti_header(files["t1"], scl_slope=np.nan, scl_inter=np.nan)
    edit_nifti_header(files["label"], scl_slope=np.nan, scl_inter=np.nan)
    files["t2"].write_bytes(files["t2"].read_bytes() + b"\r\n--boundary--\r\n")
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    assert np.array_equal(volume.affine, np.eye(4))
    assert np.array_equal(volume.images["t1"], nifti_cases.image(1))
    assert np.array_equal(volume.images["t2"], nifti_cases.image(3))
    label = nifti_cases.label((0, 1, 2, 4))
    assert np.array_equal(volume.label, np.where(label == 4, 3, label))


def test_a_quaternion_longer_than_1_by_rounding_is_read(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    """By more than nibabel allows; the masks written for such a file are readable everywhere."""
    files = nifti_cases.case(tmp_path)
    for path in files.values():
        edit_nifti_header(path, sform_code=0, qform_code=1, quatern_c=np.float32(1 + 4e-7))
    with pytest.raises(ValueError, match="w2 should be positive"):
        nib.load(files["t1"])
    volume = read_case(find_cases(tmp_path)[0], SEQUENCES)
    assert np.array_equal(volume.images["t1"], nifti_cases.image(1)[::-1, :, ::-1])
    write_mask(volume.label, volume.native, tmp_path / "mask.nii.gz", "brats2021")
    written = load_nifti(tmp_path / "mask.nii.gz")
    assert np.array_equal(written.dataobj, nifti_cases.label((0, 1, 2, 4)))
    np.testing.assert_allclose(written.affine, np.diag([-1, 1, -1, 1]), atol=1e-5)


def test_endings_in_upper_case_are_read(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    for path in nifti_cases.case(tmp_path).values():
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    (case,) = find_cases(tmp_path)
    assert np.array_equal(read_case(case, SEQUENCES).images["t1"], nifti_cases.image(1))


def test_headers_are_repaired_without_a_word_of_nibabel(
    tmp_path: Path, nifti_cases: NiftiCaseWriter, capfd: pytest.CaptureFixture[str]
) -> None:
    """It writes what it repairs to standard error, and not of which file."""
    for path in nifti_cases.case(tmp_path).values():
        edit_nifti_header(path, pixdim=[1, -1, -1, -1, 0, 0, 0, 0])
    read_case(find_cases(tmp_path)[0], SEQUENCES)
    assert capfd.readouterr() == ("", "")


def test_a_label_without_tumor_is_accepted(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    nifti_cases.save(files["label"], np.zeros((8, 9, 10), np.uint8))
    (case,) = find_cases(tmp_path)
    label = read_case(case, SEQUENCES).label
    assert label is not None and not label.any()


def test_labels_near_whole_numbers_are_rounded(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path)
    label = nifti_cases.label((0, 1, 2, 4))
    nifti_cases.save(files["label"], label.astype(np.float32) * 0.99999)
    (case,) = find_cases(tmp_path)
    assert np.array_equal(read_case(case, ["t1"]).label, np.where(label == 4, 3, label))


def test_without_codes_the_voxel_sizes_serve(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    files = nifti_cases.case(tmp_path)
    for path in files.values():
        edit_nifti_header(path, sform_code=0, qform_code=0)
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    assert volume.label is not None
    write_mask(volume.label, volume.native, tmp_path / "mask.nii.gz", "brats2021")
    written = load_nifti(tmp_path / "mask.nii.gz")
    assert np.array_equal(written.dataobj, nifti_cases.label((0, 1, 2, 4)))
    assert (written.header["sform_code"], written.header["qform_code"]) == (0, 0)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASL", "PIR"])
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (0, 1), (4, 0)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_goes_back_onto_the_input(
    axes: str, codes: tuple[int, int], suffix: str, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    files = nifti_cases.case(tmp_path / "in")
    for seed, (key, path) in enumerate(files.items()):
        values = nifti_cases.label((0, 1, 2, 4)) if key == "label" else nifti_cases.image(seed)
        nifti_cases.save(path, values, oblique(axes), codes)
    (case,) = find_cases(tmp_path / "in")
    volume = read_case(case, SEQUENCES)
    assert volume.label is not None
    path = tmp_path / "new folder" / f"mask{suffix}"
    write_mask(volume.label, volume.native, path, "brats2021")

    image, original, written = (load_nifti(p) for p in (files["flair"], files["label"], path))
    assert nib.aff2axcodes(written.affine) == tuple(axes)
    assert np.array_equal(written.dataobj, original.dataobj)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, image.affine)
    fields = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c")
    for field in (*fields, "quatern_d", "qoffset_x", "pixdim", "xyzt_units", "dim"):
        assert np.array_equal(written.header[field], image.header[field]), field
    assert written.header["descrip"].item() == b""
    assert not written.header.extensions
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("convention", "values"),
    [("brats2021", [0, 1, 2, 4]), ("brats2023", [0, 1, 2, 3]), ("msd", [0, 2, 1, 3])],
)
def test_mask_values_follow_the_convention(
    convention: str, values: list[int], tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path)
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    classes = nifti_cases.label((0, 1, 2, 3))
    write_mask(classes, volume.native, tmp_path / "mask.nii.gz", convention)
    written = np.asarray(load_nifti(tmp_path / "mask.nii.gz").dataobj)
    assert np.array_equal(written, np.array(values)[classes])


def test_same_mask_same_bytes_and_native_space_travels(
    tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nifti_cases.case(tmp_path)
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    assert volume.label is not None
    write_mask(volume.label, volume.native, tmp_path / "a.nii.gz", "brats2021")
    travelled = pickle.loads(pickle.dumps(volume.native))
    write_mask(volume.label, travelled, tmp_path / "b.nii.gz", "brats2021")
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == bytes(4)  # gzip's time stamp


def test_places_where_nothing_can_be_written(tmp_path: Path, nifti_cases: NiftiCaseWriter) -> None:
    nifti_cases.case(tmp_path)
    (case,) = find_cases(tmp_path)
    volume = read_case(case, SEQUENCES)
    label = volume.label
    assert label is not None
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.nii.gz").mkdir()
    places = [tmp_path / "file" / "mask.nii.gz", tmp_path / "folder.nii.gz"]
    places += [Path("/proc/mask.nii.gz")] if os.path.isdir("/proc") else []
    for place in places:
        with pytest.raises(InputError, match="cannot be written .*choose another output folder"):
            write_mask(label, volume.native, place, "brats2021")
    with pytest.raises(InputError, match="mask.png has no NIfTI name"):
        write_mask(label, volume.native, tmp_path / "mask.png", "brats2021")
    with pytest.raises(
        ValueError, match=r"shape \(7, 9, 10\) does not fit the file's \(8, 9, 10\)"
    ):
        write_mask(label[1:], volume.native, tmp_path / "mask.nii", "brats2021")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["P1", "file", "folder.nii.gz"]


@pytest.mark.skipif(
    "CGGM_PYRADIOMICS" not in os.environ,
    reason="CGGM_PYRADIOMICS does not name the source archive of pyradiomics 3.0.1",
)
@pytest.mark.parametrize("number", [1, 2])
def test_scanner_data_of_pyradiomics(
    number: int, tmp_path: Path, nifti_cases: NiftiCaseWriter
) -> None:
    nrrd = pytest.importorskip("nrrd")
    arrays = {}
    affine = np.eye(4)
    with (
        tarfile.open(os.environ["CGGM_PYRADIOMICS"]) as archive,
        tempfile.TemporaryDirectory() as d,
    ):
        for kind in ("image", "label"):
            member = f"pyradiomics-3.0.1/data/brain{number}_{kind}.nrrd"
            archive.extract(member, d, filter="data")
            arrays[kind], header = nrrd.read(os.path.join(d, member))
            affine[:3, :3] = np.asarray(header["space directions"]).T
            affine[:3, 3] = header["space origin"]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # NRRD's left-posterior-superior to RAS
    nifti_cases.save(tmp_path / "brain" / "brain_t1ce.nii.gz", arrays["image"], affine)
    path = nifti_cases.save(tmp_path / "brain" / "brain_seg.nii.gz", arrays["label"], affine)
    (case,) = find_cases(tmp_path, sequences=["t1ce"])
    volume = read_case(case, ["t1ce"])
    assert volume.label is not None
    assert int((volume.label == 1).sum()) == {1: 4137, 2: 453}[number]
    enhanced = volume.images["t1ce"]
    assert enhanced[volume.label == 1].mean() > enhanced[enhanced > 0].mean()
    write_mask(volume.label, volume.native, tmp_path / "mask.nii.gz", "brats2021")
    written = load_nifti(tmp_path / "mask.nii.gz")
    assert np.array_equal(written.dataobj, arrays["label"])
    assert np.array_equal(written.affine, load_nifti(path).affine)
