"""The patches of volumes: what an epoch shows, reproducibly, in the right shape and place."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cggm.data import training_dataset
from cggm.data.brats.augmentation import train_transform
from cggm.data.brats.patches import PatchDataset
from cggm.data.brats.slices import SliceDataset
from cggm.data.brats.store import SliceStore
from cggm.data.errors import InputError

from .brains import brain_cases


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SliceStore:
    """Three cases of about 19 x 23 x 11 voxels; P2 has no tumor."""
    folder = tmp_path_factory.mktemp("patches")
    cases = brain_cases(folder / "data", 3)
    return SliceStore.build(cases, folder / "store", workers=1, progress=False)


def patches(store: SliceStore, side: int = 8, **settings: Any) -> PatchDataset:
    return PatchDataset(store, store.cases, patch_size=side, patches_per_case=4, **settings)


def volume(store: SliceStore, name: str) -> Tensor:
    """Images and label of a case as one tensor (5, X, Y, Z)."""
    case = store.load(name)
    assert case.label is not None
    image = torch.from_numpy(case.images.transpose(1, 2, 3, 0).astype(np.float32))
    label = torch.from_numpy(case.label.transpose(1, 2, 0).astype(np.float32))
    return torch.cat([image, label[None]])


def test_item_has_the_promised_shape_and_types(store: SliceStore) -> None:
    dataset = patches(store, 16, transform=train_transform(16))
    assert len(dataset) == 12
    item = dataset[5]
    assert item["image"].shape == (4, 16, 16, 16) and item["image"].dtype == torch.float32
    assert item["label"].shape == (1, 16, 16, 16) and item["label"].dtype == torch.int64
    assert (item["case"], item["index"]) == ("P1", 5)
    assert item["present"].tolist() == [True] * 4
    assert item["slice"] in range(store.load("P1").slices)


def test_a_patch_is_a_part_of_its_volume(store: SliceStore) -> None:
    for item in patches(store):
        whole = volume(store, item["case"])
        patch = torch.cat([item["image"], item["label"].float()])
        places = whole.unfold(1, 8, 1).unfold(2, 8, 1).unfold(3, 8, 1)
        same = (places == patch[:, None, None, None]).all(dim=-1).all(dim=-1).all(dim=-1).all(dim=0)
        assert same.any(), item["index"]


def test_two_thirds_of_the_patches_or_more_show_tumor(store: SliceStore) -> None:
    dataset = PatchDataset(store, ["P0"], patch_size=8, patches_per_case=30)
    with_tumor = [bool(item["label"].any()) for item in dataset]
    assert np.mean(with_tumor) >= 2 / 3
    assert not any(bool(patches(store)[index]["label"].any()) for index in range(8, 12))


def test_a_case_smaller_than_a_patch_is_padded_about_its_center(store: SliceStore) -> None:
    item = patches(store, 32)[0]
    whole = volume(store, "P0")
    patch = torch.cat([item["image"], item["label"].float()])
    assert patch.shape[1:] == (32, 32, 32)
    sides = [slice((32 - n) // 2, (32 - n) // 2 + n) for n in whole.shape[1:]]
    assert torch.equal(patch[(slice(None), *sides)], whole)
    assert patch.count_nonzero() == whole.count_nonzero()


def test_image_and_label_move_together_and_all_slices_alike(store: SliceStore) -> None:
    """Geometry alone: the brightest sequence is made of the label, and remains so."""
    dataset = patches(store, 16, transform=MarkedByLabel())
    for index in range(4):
        item = dataset[index]
        assert torch.equal(item["image"][0].round().long(), item["label"][0])


class MarkedByLabel:
    """The geometry of the augmentation, without blending, on an image that is its label."""

    def __init__(self) -> None:
        (self.geometry, _) = train_transform(16).transforms
        self.geometry.prob = 0.0  # crop and flips only: no pixel is blended with its neighbors

    def set_random_state(self, seed: int) -> None:
        self.geometry.set_random_state(seed=seed)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        image = item["image"].clone()
        image[0] = item["label"][0]
        return self.geometry({**item, "image": image})


def test_an_item_depends_on_seed_epoch_and_index_alone(store: SliceStore) -> None:
    one, two = (patches(store, 16, transform=train_transform(16)) for _ in range(2))
    two.set_epoch(3)
    other = two[2]["image"]
    two.set_epoch(0)
    assert torch.equal(one[2]["image"], two[2]["image"])
    assert not torch.equal(one[2]["image"], other)
    assert not torch.equal(one[2]["image"], patches(store, 16, seed=1)[2]["image"])


def test_a_size_of_patches_decides_what_a_training_shows(store: SliceStore) -> None:
    settings: dict[str, Any] = {"size": 16, "slices_per_case": 2, "patches_per_case": 3}
    slices = training_dataset(store, store.cases, patch_size=None, **settings)
    assert type(slices) is SliceDataset and len(slices) == 6
    cubes = training_dataset(store, store.cases, patch_size=8, **settings)
    assert isinstance(cubes, PatchDataset) and len(cubes) == 9
    with pytest.raises(InputError, match="neighbors is 1, but patches of volumes have theirs"):
        training_dataset(store, store.cases, patch_size=8, neighbors=1, **settings)


def test_settings_out_of_range_are_refused(store: SliceStore) -> None:
    with pytest.raises(InputError, match="patch_size is 4; expected 8 voxels or more"):
        patches(store, 4)
    with pytest.raises(InputError, match="patches_per_case is 0; expected 1 or more"):
        PatchDataset(store, store.cases, patch_size=8, patches_per_case=0)
