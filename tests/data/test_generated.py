"""Generated features: the same everywhere, honest about what they are, and unequal as promised."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV

from cggm.data.errors import InputError
from cggm.data.features.feature_set import FeatureSet, check_feature_set, open_feature_set
from cggm.data.features.generated import (
    GENERATED,
    GENERATOR_VERSION,
    KINDS,
    generate_feature_set,
    open_features,
)
from cggm.data.features.splits import split_features

from .feature_sets import feature_set

MODALITIES = {
    "food101": ["image", "text"],
    "iemocap": ["text", "audio", "vision"],
    "mosi": ["text", "audio", "vision"],
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """The whole set of each bundle; tests may not change it."""
    return open_features(None, kind=request.param, cache_dir=tmp_path_factory.mktemp("cache"))


def test_sets_are_whole(made: FeatureSet) -> None:
    kind = made.folder.name
    assert made.modalities == MODALITIES[kind]
    assert made.generated and made.name == f"{GENERATED}: {kind}"
    assert check_feature_set(made.folder) == []
    split = split_features(made, None)
    assert {made.splits[name] for name in split["val"]} == {"val"}, "published, not drawn"
    shares = [len(part) / len(made.ids) for part in split.values()]
    np.testing.assert_allclose(shares, (0.6, 0.15, 0.25), atol=0.01)
    assert made.folder.parent.name == f"generated-{GENERATOR_VERSION}"


def test_labels(made: FeatureSet) -> None:
    labels = np.array(list(made.labels.values()), dtype=float)
    if made.classes is None:
        assert made.task == "regression" and labels.min() >= -3 and labels.max() <= 3
        np.testing.assert_allclose(labels * 5, np.round(labels * 5), atol=1e-9)
        assert abs(labels.mean()) < 0.1 and 1.3 < labels.std() < 1.7
    else:
        counts = np.bincount(labels.astype(int)) / len(labels)
        assert len(counts) == len(made.classes) == (10 if "food" in made.folder.name else 4)
        assert counts.min() > 0.09


def linear_probe(made: FeatureSet, modalities: list[str]) -> float:
    """Accuracy or correlation on the test part of a linear reader of the mean over the steps."""
    split = split_features(made, None)
    x, y = {}, {}
    for part in ("train", "test"):
        x[part] = np.array(
            [
                np.concatenate([made.files[m].read(name).mean(0) for m in modalities])
                for name in split[part]
            ]
        )
        y[part] = np.array([made.labels[name] for name in split[part]])
    if made.classes is None:
        model = RidgeCV(np.logspace(-2, 3, 6)).fit(x["train"], y["train"])
        return float(np.corrcoef(model.predict(x["test"]), y["test"])[0, 1])
    model = LogisticRegression(max_iter=1000).fit(x["train"], y["train"])
    return float(model.score(x["test"], y["test"]))


def test_text_is_easy_and_the_others_are_not(made: FeatureSet) -> None:
    text, *others = (linear_probe(made, [name]) for name in ["text", *made.modalities])
    easy = {"food101": 0.75, "iemocap": 0.58, "mosi": 0.58}[made.folder.name]
    assert text > easy
    for name, score in zip(made.modalities, others, strict=True):
        assert name == "text" or score < text - 0.1, f"{name} is as easy to read as text"


def test_same_seed_gives_same_bytes(tmp_path: Path) -> None:
    one = generate_feature_set("mosi", tmp_path / "one", samples=120)
    two = generate_feature_set("mosi", tmp_path / "two", samples=120)
    other = generate_feature_set("mosi", tmp_path / "three", samples=120, seed=1)
    assert contents(one) == contents(two)
    assert contents(one)["text.npy"] != contents(other)["text.npy"]


def test_a_finished_set_is_kept_and_a_broken_one_made_again(tmp_path: Path) -> None:
    folder = generate_feature_set("food101", tmp_path / "food", samples=120)
    before, times = contents(folder), {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    generate_feature_set("food101", folder, samples=120)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    for damage in ("dataset.json", "samples.csv", "text.npy", "text.npy.json"):
        (folder / damage).unlink()
        generate_feature_set("food101", folder, samples=120)
        assert contents(folder) == before
    generate_feature_set("food101", folder, samples=110)
    assert len(open_feature_set(folder).ids) == 110


def test_real_data_are_never_overwritten(tmp_path: Path) -> None:
    folder = feature_set(tmp_path / "real")
    before = contents(folder)
    with pytest.raises(InputError, match="real holds dataset.json, which was not generated; give"):
        generate_feature_set("food101", folder)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="notes holds diary.txt, which was not generated"):
        generate_feature_set("food101", tmp_path / "notes")
    with pytest.raises(InputError, match="diary.txt is no folder"):
        generate_feature_set("food101", tmp_path / "notes" / "diary.txt")
    assert contents(folder) == before


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind is 'brats'; expected one of food101, iemocap, mosi"):
        generate_feature_set("brats", tmp_path)
    with pytest.raises(InputError, match="kind is 'x'; expected"):
        open_features(tmp_path, kind="x")
    with pytest.raises(InputError, match="samples is 99 and seed 0; expected at least 100"):
        generate_feature_set("mosi", tmp_path, samples=99)
    with pytest.raises(InputError, match="seed -1; expected"):
        generate_feature_set("mosi", tmp_path, seed=-1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the cache folder .*file.* cannot be written"):
        open_features(None, kind="mosi", cache_dir=tmp_path / "file")


def test_a_folder_of_the_user_is_opened(tmp_path: Path) -> None:
    folder = feature_set(tmp_path / "real")
    cache = tmp_path / "cache"
    data = open_features(folder, kind="food101", modalities=["text"], cache_dir=cache)
    assert data.folder == folder and data.modalities == ["text"] and not data.generated
    assert not cache.exists()
    with pytest.raises(InputError, match="is for classification, but regression is asked for"):
        open_features(folder, kind="mosi", task="regression")


def open_and_tell(folder: Path, queue: multiprocessing.Queue[str]) -> None:
    queue.put(open_features(None, kind="mosi", cache_dir=folder).files["text"].checksum)


def test_processes_may_ask_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    processes = [fork.Process(target=open_and_tell, args=(tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    checksums = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(checksums) == 1
    folder = tmp_path / f"generated-{GENERATOR_VERSION}" / "mosi"
    assert json.loads((folder / "dataset.json").read_text())["generated"] is True
    assert {path.name for path in folder.iterdir()} == {
        "audio.npy",
        "audio.npy.json",
        "dataset.json",
        "samples.csv",
        "text.npy",
        "text.npy.json",
        "vision.npy",
        "vision.npy.json",
    }
