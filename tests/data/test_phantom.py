"""Synthetic cases: reproducible, well-formed, physically sound."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.phantom import generate
from cggm.data.phantom.cases import make_case
from cggm.data.phantom.grid import Grid, output_grid, random_field
from cggm.data.phantom.growth import diffusivity, grow_cells
from cggm.data.phantom.physics import PROTOCOL, TISSUES, InversionRecovery, SpinEcho, Tissue
from cggm.data.phantom.tumor import KINDS, draw_kind

SEQUENCES = ("flair", "t1", "t1ce", "t2")
COARSE = 4.0  # mm: the quickest case


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file under a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of two cases, made by one process; tests may not change it."""
    return generate(tmp_path_factory.mktemp("made"), cases=2, spacing=COARSE, workers=1)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A finished folder of two cases that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(scope="module")
def ring() -> dict[str, np.ndarray]:
    """A ring-enhancing case at 3 mm, each image divided by its mean over the brain."""
    arrays, _ = make_case(0, first_of_kind("ring"), 3.0)
    brain = arrays["t1"] > 0
    return {
        part: array if part == "seg" else array / array[brain].mean()
        for part, array in arrays.items()
    }


def first_of_kind(kind: str) -> int:
    """Index of the first case of a kind for seed 0."""
    return next(k for k in range(len(KINDS)) if draw_kind(0, k) == kind)


class TestFiles:
    def test_layout(self, made: Path):
        name = "Phantom_00001"
        expected = {f"{name}_{part}.nii.gz" for part in (*SEQUENCES, "seg")} | {f"{name}.json"}
        assert {p.name for p in (made / name).iterdir()} == expected
        assert {p.name for p in made.iterdir()} == {
            "Phantom_00000",
            "Phantom_00001",
            "README.txt",
            "cases.json",
        }

    def test_images_are_skull_stripped_alike(self, made: Path):
        images = [nib.load(made / f"Phantom_00000/Phantom_00000_{s}.nii.gz") for s in SEQUENCES]
        arrays = [np.asarray(image.dataobj) for image in images]
        assert {array.dtype for array in arrays} == {np.dtype(np.int16)}
        for array in arrays[1:]:
            np.testing.assert_array_equal(array > 0, arrays[0] > 0)
        assert all((array >= 0).all() for array in arrays)
        border = np.ones(arrays[0].shape, bool)
        border[2:-2, 2:-2] = False
        assert not arrays[0][border].any()

    def test_labels_are_of_brats_2021_and_in_the_brain(self, made: Path):
        for name in ("Phantom_00000", "Phantom_00001"):
            labels = np.asarray(nib.load(made / name / f"{name}_seg.nii.gz").dataobj)
            brain = np.asarray(nib.load(made / name / f"{name}_t1.nii.gz").dataobj) > 0
            assert labels.dtype == np.uint8
            assert set(np.unique(labels)) <= {0, 1, 2, 4}
            assert 0 < np.count_nonzero(labels) < 0.3 * np.count_nonzero(brain)
            assert not labels[~brain].any()

    def test_header(self, made: Path):
        image = nib.load(made / "Phantom_00000/Phantom_00000_seg.nii.gz")
        assert b"synthetic" in image.header["descrip"].tobytes()
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        np.testing.assert_allclose(image.header.get_zooms(), COARSE)
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)

    def test_manifest_and_readme_tell_what_the_files_are(self, made: Path):
        manifest = json.loads((made / "cases.json").read_text())
        assert manifest["synthetic"] and manifest["spacing"] == COARSE and manifest["seed"] == 0
        for case in manifest["cases"]:
            labels = np.asarray(
                nib.load(made / case["name"] / f"{case['name']}_seg.nii.gz").dataobj
            )
            for region, label in (("NCR", 1), ("ED", 2), ("ET", 4)):
                volume = np.count_nonzero(labels == label) * COARSE**3 / 1000
                assert case["volumes_ml"][region] == pytest.approx(volume, abs=1e-3)
            for file, known in case["files"].items():
                content = (made / case["name"] / file).read_bytes()
                assert hashlib.sha256(content).hexdigest() == known["sha256"]
        text = (made / "README.txt").read_text()
        assert "SYNTHETIC" in text and "ICBM" in text and "BSD-3" in text


class TestReproducibility:
    def test_cases_depend_neither_on_their_number_nor_on_workers(self, made: Path, tmp_path: Path):
        three = contents(generate(tmp_path / "three", cases=3, spacing=COARSE, workers=2))
        for file, content in contents(made).items():
            if file.startswith("Phantom"):
                assert three[file] == content, file

    def test_another_seed_is_another_subject(self):
        first, _ = make_case(0, 0, COARSE)
        second, _ = make_case(1, 0, COARSE)
        assert (first["t1"] != second["t1"]).mean() > 0.1

    def test_finished_folder_is_left_alone(self, copy: Path):
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
        assert generate(copy, cases=2, spacing=COARSE) == copy
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before

    @pytest.mark.parametrize("damage", ["case deleted", "file truncated", "record broken"])
    def test_damage_is_repaired(self, made: Path, copy: Path, damage: str):
        case = copy / "Phantom_00001"
        if damage == "case deleted":
            shutil.rmtree(case)
        elif damage == "file truncated":
            with open(case / "Phantom_00001_t2.nii.gz", "r+b") as file:
                file.truncate(100)
        else:
            (case / "Phantom_00001.json").write_text("{")
        generate(copy, cases=2, spacing=COARSE, workers=1)
        assert contents(copy) == contents(made)

    def test_lost_manifest_is_rewritten_without_new_cases(self, made: Path, copy: Path):
        (copy / "cases.json").unlink()
        before = (copy / "Phantom_00000").stat().st_mtime_ns
        generate(copy, cases=2, spacing=COARSE, workers=1)
        assert (copy / "Phantom_00000").stat().st_mtime_ns == before
        assert contents(copy) == contents(made)

    def test_two_runs_may_make_the_same_folder_at_once(self, made: Path, tmp_path: Path):
        def run(_: int) -> Path:
            return generate(tmp_path / "both", cases=2, spacing=COARSE, workers=1)

        with ThreadPoolExecutor(2) as pool:
            assert len(set(pool.map(run, range(2)))) == 1
        assert contents(tmp_path / "both") == contents(made)

    def test_order_of_kinds_holds_every_kind_in_twelve_cases(self):
        assert sorted(draw_kind(3, k) for k in range(12, 24)) == sorted(KINDS)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"cases": 0}, "cases is 0; expected 1 to"),
            ({"spacing": 0.5}, "spacing is 0.5; expected 1.0 to 4.0 mm"),
            ({"spacing": float("nan")}, "spacing is nan; expected 1.0"),
            ({"seed": -1}, "seed is -1; expected 0 or more"),
            ({"workers": 0}, "workers is 0; expected 1 or more"),
        ],
    )
    def test_bad_argument(self, tmp_path: Path, arguments: dict, message: str):
        with pytest.raises(InputError, match=message):
            generate(tmp_path / "new", **arguments)
        assert not (tmp_path / "new").exists()

    def test_folder_that_cannot_be_made(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            generate(tmp_path / "file" / "below", cases=1, spacing=COARSE)
        with pytest.raises(InputError, match="cannot be written"):
            generate(tmp_path / "file", cases=1, spacing=COARSE)

    def test_folder_with_other_files(self, tmp_path: Path):
        (tmp_path / "BraTS2021_00000").mkdir()
        with pytest.raises(InputError, match="'BraTS2021_00000', which is no synthetic case"):
            generate(tmp_path, cases=1, spacing=COARSE)

    def test_folder_of_other_settings(self, copy: Path):
        with pytest.raises(InputError, match="was made with seed 0, but seed 5 is asked for"):
            generate(copy, cases=2, spacing=COARSE, seed=5)
        with pytest.raises(InputError, match="with spacing 4.0, but spacing 2.0"):
            generate(copy, cases=2)
        with pytest.raises(InputError, match="holds Phantom_00001, but 1 cases are asked for"):
            generate(copy, cases=1, spacing=COARSE)


class TestContrasts:
    def test_edema_is_bright_on_flair_and_t2_and_dark_on_t1(self, ring: dict[str, np.ndarray]):
        edema, brain = ring["seg"] == 2, ring["t1"] > 0
        healthy = brain & (ring["seg"] == 0)
        for sequence in ("flair", "t2"):
            assert ring[sequence][edema].mean() > 1.15 * np.median(ring[sequence][healthy])
        assert ring["t1"][edema].mean() < np.median(ring["t1"][healthy])

    def test_agent_brightens_the_rim_most(self, ring: dict[str, np.ndarray]):
        gain = ring["t1ce"] - ring["t1"]
        rim, edema = gain[ring["seg"] == 4].mean(), gain[ring["seg"] == 2].mean()
        assert rim > 0.05 and rim > edema + 0.05

    def test_vessels_enhance_outside_the_tumor(self, ring: dict[str, np.ndarray]):
        gain = (ring["t1ce"] - ring["t1"])[(ring["seg"] == 0) & (ring["t1"] > 0)]
        assert np.quantile(gain, 0.995) > 0.25

    @pytest.mark.parametrize("kind", ["low grade", "low grade without edema"])
    def test_low_grade_does_not_enhance(self, kind: str):
        arrays, record = make_case(0, first_of_kind(kind), COARSE)
        assert record["kind"] == kind and record["volumes_ml"]["ET"] == 0
        assert 4 not in arrays["seg"] and 1 in arrays["seg"]
        assert (2 in arrays["seg"]) == (kind == "low grade")


class TestPhysics:
    def test_reference_values(self):
        tissue = Tissue(pd=0.8, t1=1000, t2=100)
        # 0.8 (1 - e^-0.6) e^-0.1 and 0.8 (1 - 2 e^-2.5 + e^-9) e^-1.1, by hand
        assert SpinEcho(tr=600, te=10).signal(tissue) == pytest.approx(0.32660, abs=1e-5)
        inversion = InversionRecovery(tr=9000, ti=2500, te=110)
        assert inversion.signal(tissue) == pytest.approx(0.22261, abs=1e-5)

    def test_agent_shortens_both_times(self):
        # 1 / 1500 ms + 4.97 / (mM s) x 0.17 mM = 1.5116 / s
        filled = Tissue(0.84, 1500, 150).with_agent(0.17)
        assert filled.t1 == pytest.approx(661.6, abs=0.1)
        assert filled.t2 == pytest.approx(127.0, abs=0.1)

    def test_flair_suppresses_csf_and_t2_does_not(self):
        signal = {
            name: {tissue: sequence.signal(TISSUES[tissue]) for tissue in TISSUES}
            for name, sequence in PROTOCOL.items()
        }
        assert abs(signal["flair"]["csf"]) < 0.25 * signal["flair"]["wm"]
        assert signal["t2"]["csf"] > 3 * signal["t2"]["wm"]
        assert signal["t1"]["wm"] > signal["t1"]["gm"] > signal["t1"]["csf"]


class TestGrid:
    @pytest.mark.parametrize(
        ("spacing", "shape"), [(1.0, (240, 240, 155)), (2.0, (96, 120, 78)), (4.0, (48, 60, 39))]
    )
    def test_shapes(self, spacing: float, shape: tuple[int, int, int]):
        assert output_grid(spacing).shape == shape

    def test_one_millimeter_has_the_affine_of_brats(self):
        expected = np.diag([-1.0, -1.0, 1.0, 1.0])
        expected[1, 3] = 239
        np.testing.assert_array_equal(output_grid(1.0).affine(), expected)

    def test_random_field_is_standard_normal_and_the_same_at_every_spacing(self):
        coarse, fine = Grid((41, 49, 33), 4.0), Grid((81, 97, 65), 2.0)
        few = random_field(np.random.default_rng(0), coarse, 8.0)
        many = random_field(np.random.default_rng(0), fine, 8.0)
        assert abs(few.mean()) < 0.05 and abs(few.std() - 1) < 0.05
        np.testing.assert_allclose(few, many[::2, ::2, ::2], atol=1e-4)


def test_cells_grow_to_the_volume_and_avoid_csf():
    shape = (24, 24, 24)
    fractions = np.zeros((3, *shape), np.float32)
    fractions[0] = 1  # white matter ...
    fractions[:, 14:] = np.array([0, 0, 1], np.float32)[:, None, None, None]  # ... beside CSF
    relative = diffusivity(fractions, np.zeros(shape, np.float32))
    everywhere = np.ones(shape, np.float32)
    u = grow_cells((10, 12, 12), relative, everywhere, everywhere, spacing=2.0, volume=4.0)
    assert np.count_nonzero(u > 0.5) * 8 / 1000 == pytest.approx(4.0, rel=0.3)
    assert u[14:].max() == 0
    assert u.min() >= 0 and u.max() <= 1
