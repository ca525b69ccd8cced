"""What is a regular stack of slices, and the reason why something is none."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="extra dicom")

from cggm.data.dicom.headers import read_tree  # noqa: E402
from cggm.data.dicom.series import Series, series_of  # noqa: E402

from ...dicom_series import AXIAL, SHAPE, oblique, voxels, write_series  # noqa: E402

SLICES = SHAPE[2]


def described(folder: Path) -> list[Series]:
    return series_of(read_tree(folder))


def problem(folder: Path) -> str:
    (series,) = described(folder)
    assert series.use == "no" and series.stack is None
    return series.problem


def test_a_missing_slice_is_named_with_its_place(tmp_path: Path) -> None:
    for path in write_series(tmp_path, orientation=oblique())[3:4]:
        path.unlink()
    assert problem(tmp_path).startswith("1 slice missing: 1 gap, the widest between ")


def test_two_stacks_in_a_series_are_a_gap(tmp_path: Path) -> None:
    write_series(tmp_path, places=[0, 5, 10, 15, 28, 33, 38, 43])
    assert "1 gap between its slices, the widest" in problem(tmp_path)


def test_irregular_spacing_is_refused_beyond_a_tenth_of_a_millimeter(tmp_path: Path) -> None:
    places = 5.0 * np.arange(SLICES)
    places[4] += 0.08
    write_series(tmp_path / "fine", places=places)
    (fine,) = described(tmp_path / "fine")
    assert fine.stack is not None and not fine.problem
    places[4] += 0.8
    write_series(tmp_path / "bad", places=places)
    assert "irregular (4.12 to 5.88 mm): a slice lies 0.88 mm beside" in problem(tmp_path / "bad")


@pytest.mark.parametrize(
    ("attribute", "values", "reason"),
    [
        ("DiffusionBValue", [0.0, 1000.0], "2 b-values, so this is diffusion imaging"),
        ("TemporalPositionIdentifier", [1, 2], "2 time points, so this is a dynamic series"),
        ("AcquisitionNumber", [1, 2], "2 acquisitions"),
    ],
)
def test_positions_that_hold_several_images_say_what_differs(
    tmp_path: Path, attribute: str, values: list, reason: str
) -> None:
    for index, value in enumerate(values):
        tags = {attribute: value}
        write_series(tmp_path / str(index), series="1.2.3.4", seed=index, **tags)
    assert problem(tmp_path) == f"8 of its 8 positions hold several images: they differ in {reason}"


def test_two_echoes_become_two_series(tmp_path: Path) -> None:
    for echo in (20.0, 90.0):
        write_series(
            tmp_path / str(echo),
            series="1.2.3.4",
            SeriesDescription="PD/T2 tse",
            EchoTime=echo,
            RepetitionTime=3000.0,
        )
    first, second = described(tmp_path)
    assert (first.frames[0].echo_time, first.sequence) == (20.0, "")
    assert (second.frames[0].echo_time, second.sequence) == (90.0, "t2")
    assert second.name == first.name.replace("-1", "-2")
    assert first.stack is not None and second.stack is not None


def test_a_copy_of_the_files_counts_once(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        (tmp_path / f"{path.name}_copy.dcm").write_bytes(path.read_bytes())
    (series,) = described(tmp_path)
    assert series.stack is not None and series.stack.shape == SHAPE


def test_a_localizer_in_three_directions_is_refused(tmp_path: Path) -> None:
    for index, orientation in enumerate([AXIAL, (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)]):
        write_series(
            tmp_path / str(index), voxels(0, (8, 8, 3)), orientation=orientation, series="1.2.3.4"
        )
    assert "different orientations (about 3): a localizer" in problem(tmp_path)


def test_slices_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a", series="1.2.3.4")
    write_series(tmp_path / "b", voxels(0, (8, 8, 8)), series="1.2.3.4", origin=(0, 0, 90))
    assert "different sizes: (10, 12), (8, 8)" in problem(tmp_path)


def test_a_tilted_stack_is_refused(tmp_path: Path) -> None:
    def tilt(index: int) -> list[float]:
        return [0.0, 0.5 * index, 5.0 * index]

    write_series(tmp_path, ImagePositionPatient=[tilt(index) for index in range(SLICES)])
    assert "shifted sideways by up to 3.5 mm" in problem(tmp_path)


def test_few_slices_and_images_without_a_place_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "few", voxels(0, (8, 8, 2)))
    assert problem(tmp_path / "few") == "it has 2 slices; expected at least 5 of a volume"
    write_series(tmp_path / "lost", ImagePositionPatient=None)
    assert problem(tmp_path / "lost").startswith("8 of its 8 images do not say where they lie")


def test_other_modalities_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, Modality="CT")
    assert problem(tmp_path) == "modality CT; expected MR"
