"""The picture of a case: what is on it, and where the colors are."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from cggm.pipelines.segmentation.overlays import COLORS, busiest_slice, colored, draw_overlay, gray

SHAPE = (20, 24, 6)


def case() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Four sequences, and a mask with all classes that is largest in slice 4."""
    generator = np.random.default_rng(0)
    images = {name: generator.random(SHAPE) + 0.1 for name in ("flair", "t1", "t1ce", "t2")}
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:16, 4:20, 4] = 2
    mask[6:14, 6:18, 4] = 3
    mask[8:12, 8:14, 4] = 1
    mask[4:6, 4:6, 2] = 2
    return images, mask


def painted(picture: np.ndarray) -> int:
    """Pixels that are not gray."""
    return int((np.ptp(picture[..., :3], axis=-1) > 0.15).sum())


def columns_with_color(picture: np.ndarray, panels: int) -> list[bool]:
    """Which panels, left to right, show colors; the legend below them is left out."""
    above = picture[: int(0.85 * picture.shape[0])]
    return [painted(part) > 100 for part in np.array_split(above, panels, axis=1)]


@pytest.mark.parametrize("with_truth", [False, True])
def test_a_panel_per_sequence_and_per_mask(tmp_path: Path, with_truth: bool) -> None:
    images, mask = case()
    path = tmp_path / "new" / "case.png"
    draw_overlay(path, images, mask, mask if with_truth else None, title="P0", voxel_ml=0.001)
    panels = 6 if with_truth else 5
    picture = imread(path)
    assert picture.shape[1] == 230 * panels
    assert columns_with_color(picture, panels) == [False] * 4 + [True] * (panels - 4)
    assert [file.name for file in path.parent.iterdir()] == ["case.png"]


def test_colors_lie_where_the_classes_are() -> None:
    images, mask = case()
    picture = gray(images["flair"][:, :, 4])
    result = colored(picture, mask[:, :, 4], opacity=1.0)
    for value, color in enumerate(COLORS.values(), start=1):
        inside = mask[:, :, 4] == value
        assert inside.any()
        assert np.allclose(result[inside], to_rgb(color))
    outside = mask[:, :, 4] == 0
    assert np.array_equal(result[outside], picture[outside])


def test_radiological_display(tmp_path: Path) -> None:
    """A lesion in the patient's left and front half shows in the right and upper half."""
    image = np.ones(SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:7, 17:22, 3] = 3  # RAS+: small x is the patient's left, large y is the front
    draw_overlay(tmp_path / "a.png", {"flair": image}, mask, title="P0", voxel_ml=1.0)
    picture = imread(tmp_path / "a.png")[:, 230:]
    rows, columns = np.nonzero(np.ptp(picture[60:270, :, :3], axis=-1) > 0.15)
    assert rows.mean() < 105 and columns.mean() > 115


def test_one_sequence_and_no_tumor(tmp_path: Path) -> None:
    image = np.zeros(SHAPE)
    empty = np.zeros(SHAPE, np.uint8)
    draw_overlay(tmp_path / "a.png", {"t2": image}, empty, empty, title="P0", voxel_ml=1.0)
    assert columns_with_color(imread(tmp_path / "a.png"), 3) == [False] * 3
    assert busiest_slice(empty) == 3


def test_busiest_slice_and_gray_values() -> None:
    images, mask = case()
    assert busiest_slice(mask) == 4
    scaled = gray(images["t1"][:, :, 0])
    assert scaled.shape == (20, 24, 3) and scaled.min() == 0 and scaled.max() == 1
    assert not gray(np.zeros((3, 3))).any()
