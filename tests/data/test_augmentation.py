"""Augmentation: image and label move together, and the background stays black."""

import math
from typing import Any

import pytest
import torch
from monai.transforms import Compose

from cggm.data.brats.augmentation import RandBrainIntensityd, RandSliceAffined, train_transform


def blob() -> torch.Tensor:
    """Classes 0 to 3 of a lopsided tumor, shape (1, 40, 50)."""
    x, y = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    radius = ((x - 16) / 8) ** 2 + ((y - 28) / 12) ** 2
    return ((radius < 1) + 0 + (radius < 0.5) + ((radius < 0.5) & (y > 28)))[None].byte()


def brain(seed: int = 0) -> torch.Tensor:
    """Four sequences with zero background, shape (4, 40, 50)."""
    noise = torch.randn(4, 40, 50, generator=torch.Generator().manual_seed(seed))
    return noise * torch.nn.functional.pad(torch.ones(4, 20, 30), (10, 10, 10, 10))


def drawn(transform: Any, seed: int, image: torch.Tensor) -> dict[str, Any]:
    transform.set_random_state(seed=seed)
    return transform({"image": image, "label": blob()})


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (33, 70)])
def test_image_and_label_move_together(size: tuple[int, int]) -> None:
    """Where the image of a label is (nearly) whole, it is the label."""
    for seed in range(30):
        moved = drawn(RandSliceAffined(size, prob=1), seed, (blob() == 2).float())
        image, label = moved["image"][0], moved["label"][0]
        assert image.shape == label.shape == size
        assert (label[image > 0.99] == 2).all() and (label[image < 0.01] != 2).all()


def test_label_keeps_its_values_and_type() -> None:
    for seed in range(20):
        label = drawn(train_transform(32, strength=2), seed, brain())["label"]
        assert label.dtype == torch.uint8 and set(label.unique().tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(("size", "places"), [((40, 50), 1), ((33, 41), 40), ((45, 55), 1)])
def test_without_rotation_pixels_are_moved_exactly(size: tuple[int, int], places: int) -> None:
    """Every pixel has its own value, so the middle one tells where the crop lies."""
    image = torch.arange(1.0, 2001.0).reshape(1, 40, 50)
    whole = torch.nn.functional.pad(image, (10, 10, 10, 10))
    corners = set()
    for seed in range(150):
        moved = drawn(RandSliceAffined(size, prob=0, flip_prob=0), seed, image)["image"]
        middle = round(float(moved[0, size[0] // 2, size[1] // 2])) - 1
        x, y = middle // 50 + 10 - size[0] // 2, middle % 50 + 10 - size[1] // 2
        expected = whole[:, x : x + size[0], y : y + size[1]]
        torch.testing.assert_close(moved, expected, atol=0.02, rtol=0)
        corners.add((x, y))
    assert len(corners) >= places if places > 1 else len(corners) == 1


def test_flips_mirror_image_and_label() -> None:
    moved = drawn(RandSliceAffined((40, 50), prob=0, flip_prob=1), 0, brain())
    assert torch.allclose(moved["image"], brain().flip(1, 2), atol=1e-4)
    assert torch.equal(moved["label"], blob().flip(1, 2))


def test_rotation_and_zoom_keep_proportions() -> None:
    """In pixels the map is a rotation times a number, whatever the shapes."""
    transform = RandSliceAffined((30, 60), prob=1, degrees=15, zoom=0.2, flip_prob=0)
    transform.set_random_state(seed=0)
    factors, angles = [], []
    for _ in range(300):
        theta = transform.draw((40, 50))[0, :, :2].flip(0, 1)
        matrix = theta * torch.tensor([[20.0], [25.0]]) / torch.tensor([[15.0, 30.0]])
        gram = matrix.T @ matrix
        torch.testing.assert_close(gram, gram[0, 0] * torch.eye(2), atol=1e-5, rtol=1e-5)
        factors.append(1 / math.sqrt(gram[0, 0]))
        angles.append(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
    assert 1 / 1.2 <= min(factors) < 0.86 and 1.16 < max(factors) <= 1.2 + 1e-6
    assert -15 <= min(angles) < -14 and 14 < max(angles) <= 15


def test_background_stays_zero() -> None:
    intensity = RandBrainIntensityd(prob=1)
    for seed in range(20):
        changed = drawn(intensity, seed, brain())
        assert torch.equal(changed["image"] == 0, brain() == 0)
        assert not torch.equal(changed["image"], brain())
        assert torch.equal(changed["label"], blob())
    empty = drawn(intensity, 0, torch.zeros(4, 5, 6))["image"]
    assert torch.equal(empty, torch.zeros(4, 5, 6))


def test_contrast_keeps_the_span_and_the_order() -> None:
    changed = drawn(RandBrainIntensityd(prob=1, scale=0, shift=0, noise=0, gamma=0.5), 0, brain())
    for before, after in zip(brain(), changed["image"], strict=True):
        inside = before != 0
        torch.testing.assert_close(after[inside].aminmax(), before[inside].aminmax())
        assert torch.equal(after[inside].argsort(), before[inside].argsort())


def test_sequences_are_changed_independently() -> None:
    image = brain()[:1].expand(4, 40, 50)
    changed = drawn(RandBrainIntensityd(prob=1, noise=0), 0, image)["image"]
    assert len({float(channel.std()) for channel in changed}) == 4


def test_slices_of_a_sequence_are_changed_alike() -> None:
    image = brain()[:1].repeat(6, 1, 1)
    found = drawn(RandBrainIntensityd(prob=1, noise=0, depth=3), 0, image)["image"]
    torch.testing.assert_close(found[:3], found[:1].expand(3, -1, -1))
    torch.testing.assert_close(found[3:], found[3:4].expand(3, -1, -1))
    assert (found[0] - found[3]).abs().max() > 0.01


def test_seed_decides_everything_and_the_input_is_kept() -> None:
    transform, image = train_transform(32), brain()
    first, second = drawn(transform, 1, image), drawn(transform, 2, image)
    assert torch.equal(drawn(transform, 1, image)["image"], first["image"])
    assert not torch.equal(first["image"], second["image"])
    assert torch.equal(image, brain())


def test_strength_zero_changes_nothing_and_others_are_refused() -> None:
    same = drawn(train_transform(32, strength=0), 0, brain())
    assert torch.equal(same["image"], brain()) and torch.equal(same["label"], blob())
    with pytest.raises(ValueError, match="strength is 3; expected a number from 0"):
        train_transform(32, strength=3)


def test_it_is_a_transform_of_monai() -> None:
    assert isinstance(train_transform(32), Compose)
