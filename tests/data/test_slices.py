"""The slice data set: what an epoch shows, reproducibly, in the right shape."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cggm.data.brats.augmentation import train_transform
from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.slices import SliceDataset, draw_slices, fit
from cggm.data.brats.store import SliceStore
from cggm.data.errors import InputError

from .brains import brain_cases


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SliceStore:
    """Three cases; P2 has no tumor."""
    folder = tmp_path_factory.mktemp("slices")
    cases = brain_cases(folder / "data", 3)
    return SliceStore.build(cases, folder / "store", workers=1, progress=False)


def augmented(store: SliceStore, **settings: Any) -> SliceDataset:
    return SliceDataset(
        store, store.cases, size=(32, 16), transform=train_transform((32, 16)), **settings
    )


def positions(dataset: SliceDataset, case: str) -> list[int]:
    return [item["slice"] for item in dataset if item["case"] == case]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        same = torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        assert same, key


def test_item_has_the_promised_shape_and_types(store: SliceStore) -> None:
    item = augmented(store)[5]
    assert item["image"].shape == (4, 32, 16) and item["image"].dtype == torch.float32
    assert item["label"].shape == (1, 32, 16) and item["label"].dtype == torch.int64
    assert (item["case"], item["index"]) == ("P0", 5)
    assert item["slice"] in range(store.load("P0").slices)


def test_all_slices_in_order_make_up_the_volume(store: SliceStore) -> None:
    dataset = SliceDataset(store, store.cases, size=(24, 28), sampling="all")
    assert len(dataset) == sum(store.load(case).slices for case in store.cases)
    for case in store.cases:
        stored = store.load(case)
        assert stored.label is not None
        items = [item for item in dataset if item["case"] == case]
        inner = stored.images.shape[-2:]
        images = torch.stack([fit(item["image"], (inner[0], inner[1])) for item in items])
        labels = torch.cat([fit(item["label"], (inner[0], inner[1])) for item in items])
        np.testing.assert_array_equal(images, stored.images.astype(np.float32))
        np.testing.assert_array_equal(labels, stored.label)


def test_neighbors_are_the_slices_around_and_the_outermost_again(store: SliceStore) -> None:
    stored = store.load("P0")
    settings: dict[str, Any] = {"size": (24, 28), "sampling": "all", "sequences": ["t2", "flair"]}
    dataset = SliceDataset(store, ["P0"], neighbors=2, **settings)
    plain = [item["image"] for item in SliceDataset(store, ["P0"], **settings)]
    for position, item in enumerate(dataset):
        around = [min(max(position + d, 0), stored.slices - 1) for d in range(-2, 3)]
        expected = [plain[number][channel] for channel in range(2) for number in around]
        assert torch.equal(item["image"], torch.stack(expected))


def test_epochs_differ_and_come_again(store: SliceStore) -> None:
    dataset, again = augmented(store), augmented(store)
    first = [dataset[index] for index in range(len(dataset))]
    dataset.set_epoch(1)
    assert any(not torch.equal(dataset[i]["image"], first[i]["image"]) for i in range(24))
    assert [dataset[i]["slice"] for i in range(24)] != [item["slice"] for item in first]
    dataset.set_epoch(0)
    for index in reversed(range(len(dataset))):
        assert_same(dataset[index], first[index])
        assert_same(again[index], first[index])
    other = augmented(store, seed=1)
    assert any(not torch.equal(other[i]["image"], first[i]["image"]) for i in range(24))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_the_same_items_in_every_epoch(store: SliceStore, start: str) -> None:
    """Persistent workers hold a copy of the data set and must still see the new epoch."""
    dataset, alone = augmented(store), augmented(store)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=start,
    )
    for epoch in range(3):
        dataset.set_epoch(epoch)
        alone.set_epoch(epoch)
        for index, item in enumerate(loader):
            assert_same(item, alone[index])


def test_pickled_data_set_gives_the_same_items(store: SliceStore) -> None:
    dataset = augmented(store)
    dataset.set_epoch(3)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.epoch == 3
    assert_same(again[7], dataset[7])


def test_paper_sampling_draws_one_tumor_slice_uniformly(store: SliceStore) -> None:
    dataset = SliceDataset(store, store.cases, size=16, sampling="paper")
    assert len(dataset) == 3
    tumor = store.load("P0").tumor_slices.tolist()
    counts: dict[int, int] = dict.fromkeys(tumor, 0)
    for epoch in range(300):
        dataset.set_epoch(epoch)
        counts[dataset[0]["slice"]] += 1
    assert len(tumor) == 5
    assert all(30 < count < 90 for count in counts.values())


def test_case_without_tumor_shows_brain_slices(store: SliceStore) -> None:
    for sampling in ("paper", "tumor"):
        dataset = SliceDataset(store, ["P2"], size=16, sampling=sampling)
        assert all(not item["label"].any() and item["image"].any() for item in dataset)


@pytest.mark.parametrize(("share", "total"), [(0.0, 4), (2 / 3, 4), (1.0, 4), (0.5, 1)])
def test_share_of_tumor_slices(store: SliceStore, share: float, total: int) -> None:
    stored = store.load("P1")
    tumor, size = set(stored.tumor_slices.tolist()), stored.slices
    drawn: list[int] = []
    for seed in range(1000):
        drawn += draw_slices(stored, total, share, np.random.default_rng(seed)).tolist()
        assert len(set(drawn[-total:])) == total
    found = np.mean([position in tumor for position in drawn])
    chosen = share * total  # the rest come from the slices that were not chosen
    rest = (total - chosen) * (len(tumor) - chosen) / (size - chosen)
    assert abs(found - (chosen + rest) / total) < 0.04


def test_more_slices_than_a_case_has(store: SliceStore) -> None:
    dataset = SliceDataset(store, ["P0"], size=16, slices_per_case=100)
    assert set(positions(dataset, "P0")) == set(range(store.load("P0").slices))


def test_sequences_are_taken_by_name(store: SliceStore) -> None:
    every = SliceDataset(store, store.cases, size=32)
    some = SliceDataset(store, store.cases, size=32, sequences=("t2", "flair"))
    wanted = [SEQUENCES.index("t2"), SEQUENCES.index("flair")]
    assert torch.equal(some[3]["image"], every[3]["image"][wanted])


def test_fit_is_undone_by_fit() -> None:
    image = torch.arange(1, 21).reshape(1, 4, 5)
    for size in ((7, 8), (6, 6), (5, 9)):
        assert torch.equal(fit(fit(image, size), (4, 5)), image)
    cropped = fit(fit(image, (3, 2)), (4, 5))
    assert torch.equal(cropped[cropped > 0], image[cropped > 0])
    assert (cropped > 0).sum() == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": "some"}, "sampling is 'some'; expected one of tumor, paper, all"),
        ({"slices_per_case": 0}, "slices_per_case is 0; expected 1 or more"),
        ({"tumor_share": 1.5}, "tumor_share is 1.5; expected a number from 0 to 1"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"size": 0}, "size is 0; expected one or two positive numbers"),
        ({"size": (1, 2, 3)}, "expected one or two positive numbers"),
        ({"sequences": ("t1c",)}, "P0: t1c asked for, but the slice store holds flair, t1, t1ce"),
        ({"data": []}, "no case to take slices from"),
        ({"data": ["P7"]}, "no case 'P7'"),
    ],
)
def test_wrong_settings_are_refused(
    store: SliceStore, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        SliceDataset(store, **({"data": store.cases, "size": 16} | settings))
    with pytest.raises(IndexError, match="item 3 of 3"):
        SliceDataset(store, store.cases, size=16, sampling="paper")[3]


def test_case_without_label_is_refused(tmp_path: Path) -> None:
    cases = [replace(case, label=None) for case in brain_cases(tmp_path / "data", 1)]
    store = SliceStore.build(cases, tmp_path / "store", workers=1)
    with pytest.raises(InputError, match="P0 has no label"):
        SliceDataset(store, ["P0"], size=16)
