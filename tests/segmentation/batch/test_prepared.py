"""Images with a skull, a grid each: found to need it, prepared, and masks back on every grid."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("SimpleITK", reason="the extra prepare is not installed")

from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.nifti import read_images
from cggm.data.errors import InputError
from cggm.data.phantom.head import Head, make_head
from cggm.pipelines.segmentation.batch.case import Settings, Tool, usual_spacing
from cggm.pipelines.segmentation.batch.cases import find_cases_to_segment
from cggm.pipelines.segmentation.batch.need import reason_to_prepare
from cggm.pipelines.segmentation.batch.record import read_record
from cggm.pipelines.segmentation.batch.run import segment_cases
from cggm.pipelines.segmentation.trained import weights_in

from ..preparation.scans import save, write_scans
from .models import write_model

SETTINGS = Settings(brain_mask="skullless", spacing=3.0)


@pytest.fixture(scope="module")
def head() -> Head:
    return make_head(0, 3, 3.0)


@pytest.fixture(scope="module")
def hospital(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital")
    write_scans(folder / "P01_2024-03-01", head, "t1ce", "flair")
    return folder


def test_a_hospital_patient_gets_masks_on_every_grid(
    hospital: Path, model: Path, tmp_path: Path
) -> None:
    tool = Tool(weights_in(model), SETTINGS, "cpu")
    found, output, name = find_cases_to_segment(hospital), tmp_path / "out", "P01_2024-03-01"
    said: list[str] = []
    outcome = segment_cases(found, output, tool, say=said.append)
    assert list(outcome.done) == [name]
    assert said[0] == f"{name} is prepared first: its sequences lie on different grids"
    record = read_record(output / name)
    assert record["prepared"] and record["seconds"]["prepare"] > 0
    assert (record["subject"], record["date"]) == ("P01", "2024-03-01")
    assert "flair has slices of 5.0 mm" in record["remarks"]
    mask = nib.load(output / name / record["mask"])
    prepared = nib.load(output / "prepared" / name / f"{name}_t1ce.nii.gz")
    assert mask.shape == prepared.shape and np.array_equal(mask.affine, prepared.affine)
    ml = record["volumes_ml"]["WT"]
    assert list(record["native_masks"]) == ["flair", "t1ce"] and ml is not None and ml > 1
    for sequence, file in record["native_masks"].items():
        back = nib.load(output / name / file)
        own = nib.load(hospital / name / f"{name}_{sequence}.nii.gz")
        assert back.shape == own.shape and np.allclose(back.affine, own.affine)
        voxel_ml = abs(np.linalg.det(own.affine[:3, :3])) / 1000
        assert (np.asarray(back.dataobj) > 0).sum() * voxel_ml == pytest.approx(ml, rel=0.1)
    assert nib.load(output / name / "view" / "mask.nii.gz").shape < mask.shape
    assert (output / "prepared" / "prepared.csv").is_file()

    # Prepared images are kept: another model need not wait for them.
    before = (output / "prepared" / name / f"{name}.json").stat().st_mtime_ns
    other = write_model(tmp_path / "other", ("flair", "t1ce"), seed=3)
    again = segment_cases(found, output, Tool(weights_in(other), SETTINGS, "cpu"), say=[].append)
    assert list(again.done) == [name] and again.done[name]["seconds"]["prepare"] < 5
    assert (output / "prepared" / name / f"{name}.json").stat().st_mtime_ns == before


def test_never_prepared_a_hospital_patient_is_refused(
    hospital: Path, model: Path, tmp_path: Path
) -> None:
    tool = Tool(weights_in(model), Settings(prepare="never"), "cpu")
    outcome = segment_cases(find_cases_to_segment(hospital), tmp_path, tool, say=[].append)
    ((stage, reason),) = outcome.failed.values()
    assert stage == "read" and "expected one grid" in reason and "cggm prepare" in reason


def test_what_needs_to_be_prepared(head: Head, hospital: Path, tmp_path: Path) -> None:
    """Other grids, a skull, or a head whose air alone was set to 0; a brain does not."""

    def reason(source: Path) -> str | None:
        (case,) = find_cases_to_segment(source, say=lambda _: None).cases
        return reason_to_prepare(read_images(case, SEQUENCES))

    def written(**images: np.ndarray) -> Path:
        shutil.rmtree(tmp_path / "P1", ignore_errors=True)
        for name, image in images.items():
            save(tmp_path / "P1" / f"{name}.nii.gz", image, head.affine)
        return tmp_path

    flair, t1 = head.images["flair"], head.images["t1"]
    assert reason(hospital) == "its sequences lie on different grids"
    assert reason(written(flair=flair * head.brain, t1=t1)) == "t1 is not 0 outside of the brain"
    assert reason(written(flair=flair * head.brain, t1=t1 * head.brain)) is None
    air = t1 < 0.3 * t1[head.brain].mean()
    without_air = reason(written(flair=flair * ~air, t1=t1 * ~air))
    assert without_air is not None and "ml are not 0, and a brain has less than" in without_air
    with pytest.raises(InputError, match=r"\(t1\) holds only zeros"):
        reason(written(flair=flair, t1=t1 * 0))


@pytest.mark.parametrize(
    ("grid", "expected"),
    [({"voxel_mm": [2.0, 2.0, 2.0]}, 2.0), ({"voxel_mm": [1, 1, 5]}, 1.0), (None, 1.0)],
)
def test_images_are_prepared_on_the_voxels_of_the_training(
    grid: dict[str, list[float]] | None, expected: float, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model", ("flair",), more={"grid": grid} if grid else {})
    assert usual_spacing(weights_in(model)) == expected
