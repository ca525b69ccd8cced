"""Voxels and affines of DICOM series, against SimpleITK's and highdicom's own reading."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="extra dicom")

from cggm.data.dicom.conversion import read_voxels, write_stack  # noqa: E402
from cggm.data.dicom.headers import read_tree  # noqa: E402
from cggm.data.dicom.series import Series, series_of  # noqa: E402

from ...dicom_series import AXIAL, ID, NAME, SHAPE, oblique, voxels, write_series  # noqa: E402

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def only(folder: Path) -> Series:
    (series,) = series_of(read_tree(folder))
    assert not series.problem
    return series


def placed(array: np.ndarray, affine: np.ndarray) -> dict[tuple[float, ...], float]:
    """The value at each point in mm: what must not depend on the order of axes."""
    points = np.indices(array.shape).reshape(3, -1)
    places = (affine[:3, :3] @ points + affine[:3, 3:]).T.round(2) + 0.0
    return dict(zip(map(tuple, places.tolist()), array.ravel().tolist(), strict=True))


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, oblique(), oblique(-35)])
def test_every_voxel_is_where_simpleitk_reads_it(tmp_path: Path, orientation) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="extra prepare")
    write_series(tmp_path, orientation=orientation, rescale=(2.0, -100.0))
    stack = only(tmp_path).stack
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = sitk.ReadImage(names)
    affine = np.eye(4)
    directions = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3], affine[:3, 3] = directions * image.GetSpacing(), image.GetOrigin()
    theirs = placed(sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS @ affine)
    write_stack(stack, tmp_path / "out.nii.gz")
    written = nib.load(tmp_path / "out.nii.gz")
    ours = placed(np.asarray(written.dataobj), written.affine)
    assert len(ours) == np.prod(SHAPE)
    assert ours == theirs


def compress(path: Path, syntax: str) -> None:
    """Keep the pixels of a file in another way, without loss."""
    gdcm = pytest.importorskip("gdcm", reason="extra dicom")
    reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
    change = gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize(
    "syntax", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"]
)
def test_pixels_as_archives_keep_them(tmp_path: Path, syntax: str) -> None:
    write_series(tmp_path / "plain")
    for path in write_series(tmp_path / "compressed"):
        compress(path, syntax)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    plain, compressed = (only(tmp_path / name) for name in ("plain", "compressed"))
    np.testing.assert_array_equal(read_voxels(compressed.stack), read_voxels(plain.stack))


@pytest.mark.parametrize("enhanced", [False, True])
def test_every_voxel_is_where_highdicom_reads_it(tmp_path: Path, enhanced: bool) -> None:
    hd = pytest.importorskip("highdicom", reason="extra dicom")
    paths = write_series(
        tmp_path, orientation=oblique(), rescale=(0.5, 10.0), enhanced=enhanced, seed=3
    )
    if enhanced:
        volume = hd.imread(paths[0]).get_volume()
    else:
        volume = hd.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    stack = only(tmp_path).stack
    theirs = placed(volume.array, LPS @ volume.affine)
    assert placed(read_voxels(stack), stack.affine) == theirs


def test_enhanced_and_classic_files_give_the_same_volume(tmp_path: Path) -> None:
    for kind in ("classic", "enhanced"):
        write_series(tmp_path / kind, orientation=oblique(), enhanced=kind == "enhanced")
    classic, enhanced = only(tmp_path / "classic").stack, only(tmp_path / "enhanced").stack
    np.testing.assert_array_equal(read_voxels(classic), voxels())
    np.testing.assert_array_equal(read_voxels(enhanced), voxels())
    np.testing.assert_allclose(enhanced.affine, classic.affine, atol=1e-6)
    assert classic.voxel_mm == (0.8, 0.9, 5.0)


def test_written_file_tells_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_stack(only(tmp_path).stack, tmp_path / "out.nii.gz")
    image = nib.load(tmp_path / "out.nii.gz")
    content = image.to_bytes()
    assert NAME.split("^")[0].encode() not in content and ID.encode() not in content
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)


def test_two_series_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    write_series(tmp_path, series="1.2.3.4", SeriesNumber=1)
    paths = write_series(tmp_path / "other", seed=1, series="1.2.3.5", SeriesNumber=2)
    for path in paths:
        path.rename(tmp_path / f"{path.name}.dcm")
    found = {one.header.number: one for one in series_of(read_tree(tmp_path))}
    np.testing.assert_array_equal(read_voxels(found["1"].stack), voxels(0))
    np.testing.assert_array_equal(read_voxels(found["2"].stack), voxels(1))
