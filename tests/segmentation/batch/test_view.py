"""The copies that a page shows: where they lie, and how bright they are."""

from pathlib import Path

import nibabel as nib
import numpy as np

from cggm.pipelines.segmentation.batch.view import MARGIN, gray_levels, write_view


def test_copies_are_cropped_and_keep_their_place(tmp_path: Path) -> None:
    affine = np.array([[2.0, 0, 0, -30], [0, 2, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])
    image, classes = np.zeros((40, 50, 30), np.float32), np.zeros((40, 50, 30), np.uint8)
    image[10:30, 12:40, 6:30] = np.random.default_rng(0).normal(50, 9, (20, 28, 24))
    classes[15:18, 20:25, 10] = 3
    write_view(tmp_path, {"flair": image, "t2": -image}, classes, affine)
    flair, t2, mask = (nib.load(tmp_path / f"view/{n}.nii.gz") for n in ("flair", "t2", "mask"))
    assert flair.shape == t2.shape == mask.shape and flair.get_data_dtype() == np.uint8
    assert max(flair.shape[0] - 20, flair.shape[1] - 28) <= 2 * (MARGIN + 1)
    first = np.rint(np.linalg.inv(affine) @ flair.affine[:, 3])[:3].astype(int)
    part = tuple(slice(a, a + n) for a, n in zip(first, flair.shape, strict=True))
    assert np.array_equal(mask.dataobj, classes[part]) and np.array_equal(flair.affine, t2.affine)
    assert np.array_equal(np.asarray(flair.dataobj) > 0, image[part] != 0)
    assert np.asarray(mask.dataobj).sum() == classes.sum()


def test_gray_levels_leave_0_to_the_outside() -> None:
    image = np.array([0, -5, 0, 20, 1000], np.float32)
    levels = gray_levels(image)
    assert levels.dtype == np.uint8 and (levels > 0).tolist() == (image != 0).tolist()
    assert levels[1] == 1 and levels[4] == 255
    assert gray_levels(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
