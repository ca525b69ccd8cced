"""Segmenting from Python: on the input's grid, with any sequences; what is no image is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm import Segmenter
from cggm.data.brats.cases import SEQUENCES
from cggm.data.errors import InputError

from .test_inference import SHAPE, TURNED, Thresholds, segment, write_case


def arrays(root: Path) -> dict[str, np.ndarray]:
    files = {name: root / "P0" / f"P0_{name}.nii.gz" for name in SEQUENCES}
    return {name: np.asarray(nib.load(file).dataobj) for name, file in files.items()}


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    """The images of a case in turned axes, whose files lie in the folder "in"."""
    write_case(tmp_path / "in", "P0", without=["seg"])
    return arrays(tmp_path / "in")


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Thresholds(), SEQUENCES, device="cpu", batch_size=2)


def test_arrays_in_turned_axes_get_the_mask_of_their_files(
    images: dict[str, np.ndarray], segmenter: Segmenter, tmp_path: Path
) -> None:
    segment(tmp_path / "in", tmp_path / "out")
    mask = np.asarray(nib.load(tmp_path / "out" / "masks" / "P0.nii.gz").dataobj)
    kept = {name: image.copy() for name, image in images.items()}
    result = segmenter.segment(images, TURNED, probabilities=True)
    assert result.classes.shape == SHAPE and result.classes.dtype == np.uint8
    assert np.array_equal(result.codes("brats2021"), mask)
    assert np.array_equal(result.codes("msd") == 1, result.classes == 2)
    assert result.volumes["WT"] == pytest.approx((mask > 0).sum() * 6 / 1000)  # 2 x 3 x 1 mm
    assert result.probabilities is not None and result.probabilities.shape == (4, *SHAPE)
    outside = images["flair"] == 0
    assert (result.probabilities[0][outside] == 1).all() or not result.classes[outside].any()
    assert all(np.array_equal(images[name], kept[name]) for name in images), "inputs were changed"


def test_an_absent_sequence_is_told_to_the_network(images: dict[str, np.ndarray]) -> None:
    network = Thresholds()
    del images["t1"], images["t2"]
    result = Segmenter(network, SEQUENCES, device="cpu").segment(images, TURNED)
    assert all(p is not None and p.tolist() == [1, 0, 1, 0] for p in network.present)
    assert result.sequences == ("flair", "t1ce")


def test_what_cannot_be_segmented_is_one_sentence(
    images: dict[str, np.ndarray], segmenter: Segmenter, tmp_path: Path
) -> None:
    def refusal(changes: dict[str, np.ndarray], affine: np.ndarray = TURNED) -> str:
        with pytest.raises(InputError) as error:
            segmenter.segment(images | changes, affine)
        return str(error.value)

    t1 = images["t1"].astype(float)
    assert refusal({"t1c": t1}) == (
        "the network has no sequence 't1c'; it was trained with flair, t1, t1ce, t2: give one or "
        "more of these"
    )
    assert "t1 has 12 x 9 x 13 voxels, but flair has 12 x 9 x 14" in refusal({"t1": t1[:, :-1]})
    assert "t1 (t1) holds only zeros" in refusal({"t1": t1 * 0})
    assert "1512 of 1512 voxels are NaN or infinite" in refusal({"t1": t1 * np.nan})
    assert "t1 holds complex voxels" in refusal({"t1": t1 * 1j})
    assert "t1 and t2 hold the same voxels" in refusal({"t2": t1})
    assert "flair is a single slice of shape (12, 14)" in refusal({"flair": t1[..., 4]})
    assert "singular affine" in refusal({}, np.zeros((4, 4)))
    with pytest.raises(InputError, match="no image is given; it was trained with flair"):
        segmenter.segment({}, TURNED)
    missing = tmp_path / "P1_t1.nii.gz"
    with pytest.raises(InputError, match="P1_t1.nii.gz cannot be read .*; a broken link"):
        segmenter.segment_files({"t1": missing})
    with pytest.raises(InputError, match="no label convention is called 'brats'"):
        segmenter.segment_files({"t1": missing}, label_convention="brats")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model in .*; give the --output_dir"):
        Segmenter.from_folder(tmp_path)
