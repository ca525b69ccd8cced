"""Features as tensors: the same in every kind of worker, padded, cut and counted."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cggm.data.errors import InputError
from cggm.data.features.dataset import FeatureDataset, collate_features, feature_statistics
from cggm.data.features.feature_set import FeatureSet, open_feature_set
from cggm.data.features.file import write_features

from .feature_sets import feature_set, rows_of


@pytest.fixture
def data(tmp_path: Path) -> FeatureSet:
    """Twelve samples of three classes, two modalities."""
    return open_feature_set(feature_set(tmp_path / "set", 12))


def test_items_are_the_samples_in_order(data: FeatureSet) -> None:
    dataset = FeatureDataset(data, ["s003", "s001"])
    assert len(dataset) == 2 and dataset.data == ["s003", "s001"] and dataset.labeled
    item = dataset[1]
    assert set(item) == {"inputs", "label", "id"} and item["id"] == "s001"
    assert list(item["inputs"]) == ["image", "text"]
    for name, file in data.files.items():
        np.testing.assert_array_equal(item["inputs"][name].numpy(), file.read("s001"))
    assert item["label"].dtype == torch.int64 and item["label"].tolist() == 1
    assert list(FeatureDataset(data, ["s001"], modalities=["text"])[0]["inputs"]) == ["text"]
    with pytest.raises(IndexError):
        dataset[2]


def test_items_may_be_changed(data: FeatureSet) -> None:
    dataset = FeatureDataset(data, ["s000"])
    before = dataset[0]["inputs"]["text"].clone()
    dataset[0]["inputs"]["text"].zero_()
    assert torch.equal(dataset[0]["inputs"]["text"], before)


def test_regression_and_unlabeled_items(tmp_path: Path) -> None:
    data = open_feature_set(feature_set(tmp_path / "a", 6, task="regression"))
    dataset = FeatureDataset(data, data.ids)
    assert dataset[0]["label"].dtype == torch.float32 and dataset[0]["label"].tolist() == [-3.0]
    batch = collate_features([dataset[0], dataset[5]])
    assert batch["label"].tolist() == [[-3.0], [3.0]]

    rows = [row | {"label": "" if row["id"] == "s001" else row["label"]} for row in rows_of(6)]
    data = open_feature_set(feature_set(tmp_path / "b", rows), labels="optional")
    dataset = FeatureDataset(data, data.ids)
    assert not dataset.labeled and "label" not in dataset[0]
    assert "label" not in collate_features([dataset[0], dataset[1]])
    assert FeatureDataset(data, ["s000"])[0]["label"].tolist() == 0


def test_a_batch_is_padded_to_its_longest(data: FeatureSet) -> None:
    dataset = FeatureDataset(data, data.ids)
    items = [dataset[index] for index in range(len(dataset))]
    batch = collate_features(items)
    assert batch["id"] == data.ids and batch["label"].tolist() == [0, 1, 2] * 4
    for name, (values, lengths) in batch["inputs"].items():
        assert values.dtype == torch.float32 and lengths.dtype == torch.int64
        assert values.shape == (12, int(lengths.max()), data.widths[name])
        for row, item in enumerate(items):
            length = int(lengths[row])
            assert torch.equal(values[row, :length], item["inputs"][name])
            assert not values[row, length:].any()


def test_long_sequences_are_cut_at_the_end(data: FeatureSet) -> None:
    whole = FeatureDataset(data, data.ids)
    for limit, text, image in ((2, 2, 2), ({"text": 3}, 3, 99)):
        cut = FeatureDataset(data, data.ids, max_length=limit)
        for index in range(12):
            for name, most in (("text", text), ("image", image)):
                expected = whole[index]["inputs"][name][:most]
                assert torch.equal(cut[index]["inputs"][name], expected)


def test_wrong_arguments_are_refused(data: FeatureSet) -> None:
    with pytest.raises(InputError, match="has no samples x, y"):
        FeatureDataset(data, ["s001", "x", "y"])
    with pytest.raises(InputError, match="no sample of .* to show"):
        FeatureDataset(data, [])
    with pytest.raises(InputError, match="audio asked for; it was opened with image, text"):
        FeatureDataset(data, ["s001"], modalities=["audio"])
    with pytest.raises(InputError, match="no modality asked for"):
        FeatureDataset(data, ["s001"], modalities=[])
    for limit in (0, {"text": -1}, {"audio": 3}):
        with pytest.raises(InputError, match="max_length is .*; expected 1 or more steps for any"):
            FeatureDataset(data, ["s001"], max_length=limit)


@pytest.mark.parametrize("start", [None, "fork", "spawn"])
def test_workers_give_what_no_worker_gives(data: FeatureSet, start: str | None) -> None:
    dataset = FeatureDataset(data, data.ids)
    expected = [dataset[index]["inputs"]["text"] for index in range(12)]
    loader = DataLoader(
        dataset,
        batch_size=5,
        num_workers=2 if start else 0,
        multiprocessing_context=start,
        collate_fn=collate_features,
    )
    found: list[torch.Tensor] = []
    for batch in loader:
        values, lengths = batch["inputs"]["text"]
        found += [row[:length] for row, length in zip(values, lengths.tolist(), strict=True)]
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_dataset_pickles_small(data: FeatureSet) -> None:
    dataset = FeatureDataset(data, data.ids)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[3]["inputs"]["text"], dataset[3]["inputs"]["text"])


def test_statistics_are_those_of_all_steps(
    data: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cggm.data.features.dataset.BLOCK", 7)
    dataset = FeatureDataset(data, data.ids[:9], max_length={"image": 2})
    found = feature_statistics(dataset)
    assert list(found) == ["image", "text"]
    for name, (mean, std) in found.items():
        steps = torch.cat([dataset[index]["inputs"][name] for index in range(9)]).double()
        assert mean.dtype == std.dtype == torch.float32
        torch.testing.assert_close(mean.double(), steps.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(std.double(), steps.std(0, correction=0), rtol=1e-5, atol=1e-6)


def test_statistics_of_constant_tiny_and_distant_columns(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    folder = feature_set(tmp_path, 12, widths={})
    samples = {f"s{n:03}": draws.normal(size=(50, 5)) for n in range(12)}
    for array in samples.values():
        array[:, 0] = 0.1  # no power of two: its sums are rounded
        array[:, 1] = 0
        array[:, 2] *= 1e-8
        array[:, 3] += 1e4
    write_features(folder / "text.npy", samples.items(), about={})
    data = open_feature_set(folder)
    mean, std = feature_statistics(FeatureDataset(data, data.ids))["text"]
    assert std[:2].tolist() == [1, 1] and abs(float(mean[0]) - 0.1) < 1e-7
    all_steps = np.concatenate(list(samples.values())).astype(np.float32).astype(float)
    np.testing.assert_allclose(std[2:], all_steps[:, 2:].std(0), rtol=1e-4)
